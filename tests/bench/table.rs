//! The figures and how they are printed.

/// One measured thing.
pub struct Figure {
    /// What was measured.
    pub name: &'static str,
    /// The unit of the samples.
    pub unit: &'static str,
    /// The highest value that is aimed at.
    pub aim: Option<f64>,
    /// What the original needs, for comparison.
    pub original: &'static str,
    /// The measured values.
    pub samples: Vec<f64>,
}

impl Figure {
    fn sorted(&self) -> Vec<f64> {
        let mut samples = self.samples.clone();
        samples.sort_by(f64::total_cmp);
        samples
    }

    /// The value in the middle.
    fn median(&self) -> Option<f64> {
        let sorted = self.sorted();
        let middle = sorted.len().checked_sub(1)? / 2;
        if sorted.len() % 2 == 1 {
            return sorted.get(middle).copied();
        }
        Some((sorted[middle] + sorted[middle + 1]) / 2.0)
    }
}

/// Prints a table that is Markdown too.
pub fn print(figures: &[Figure]) {
    let heads = [
        "figure", "median", "lowest", "highest", "samples", "aim", "original",
    ];
    let mut rows = vec![heads.map(str::to_owned)];
    for figure in figures {
        let number = |value: f64| match figure.unit {
            "s" | "MB" => format!("{value:.2} {}", figure.unit),
            unit => format!("{value:.1} {unit}"),
        };
        let (sorted, none) = (figure.sorted(), || "-".to_owned());
        rows.push([
            figure.name.to_owned(),
            figure.median().map_or_else(none, number),
            sorted.first().copied().map_or_else(none, number),
            sorted.last().copied().map_or_else(none, number),
            sorted.len().to_string(),
            figure
                .aim
                .map_or_else(none, |aim| format!("≤ {aim} {}", figure.unit)),
            figure.original.to_owned(),
        ]);
    }
    let widths: Vec<usize> = (0..heads.len())
        .map(|column| {
            let lengths = rows.iter().map(|row| row[column].chars().count());
            lengths.max().unwrap_or_default()
        })
        .collect();
    for (at, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        println!("| {} |", cells.join(" | "));
        if at == 0 {
            let lines: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            println!("|-{}-|", lines.join("-|-"));
        }
    }
}
