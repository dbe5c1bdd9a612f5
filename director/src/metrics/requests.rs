//! Counts of the API's requests, for `/api_metrics` (operations.md §14). [`crate::api`] records each answer.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use super::escape;

/// Counts since the start of the process.
#[derive(Default)]
pub struct Requests(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    /// By status, method and path.
    total: BTreeMap<(u16, String, String), u64>,
    /// By method and path.
    durations: BTreeMap<(String, String), Histogram>,
    exceptions: BTreeMap<String, u64>,
}

/// Upper bounds in seconds.
const BUCKETS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

#[derive(Default)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

/// Paths beyond so many are counted as one: whoever asks for made-up names must not fill the memory.
const MOST_PATHS: usize = 1000;

impl Requests {
    /// `exception`: what went wrong inside, if something did.
    pub fn record(
        &self,
        method: &str,
        path: &str,
        status: u16,
        took: Duration,
        exception: Option<&str>,
    ) {
        let mut counts = self.lock();
        let mut key = (method.to_owned(), without_names(path));
        if !counts.durations.contains_key(&key) && counts.durations.len() >= MOST_PATHS {
            key.1 = "/:other".into();
        }
        let (method, path) = key.clone();
        *counts.total.entry((status, method, path)).or_default() += 1;
        let seconds = took.as_secs_f64();
        let histogram = counts.durations.entry(key).or_default();
        histogram.count += 1;
        histogram.sum += seconds;
        for (bound, bucket) in BUCKETS.iter().zip(&mut histogram.buckets) {
            *bucket += u64::from(seconds <= *bound);
        }
        if let Some(exception) = exception {
            *counts.exceptions.entry(exception.to_owned()).or_default() += 1;
        }
    }

    /// All counts as Prometheus reads them.
    pub fn render(&self) -> String {
        let counts = self.lock();
        let mut text = String::new();
        head(
            &mut text,
            "http_server_requests_total",
            "counter",
            "The total number of HTTP requests handled by the director.",
        );
        for ((code, method, path), count) in &counts.total {
            let (method, path) = (escape(method), escape(path));
            let _ = writeln!(
                text,
                "http_server_requests_total{{code=\"{code}\",method=\"{method}\",path=\"{path}\"}} {count}"
            );
        }
        let name = "http_server_request_duration_seconds";
        head(
            &mut text,
            name,
            "histogram",
            "The HTTP response duration of the director.",
        );
        for ((method, path), histogram) in &counts.durations {
            let labels = format!("method=\"{}\",path=\"{}\"", escape(method), escape(path));
            for (bound, count) in BUCKETS.iter().zip(&histogram.buckets) {
                let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
            }
            let (count, sum) = (histogram.count, histogram.sum);
            let _ = write!(
                text,
                "{name}_bucket{{{labels},le=\"+Inf\"}} {count}\n{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}\n"
            );
        }
        head(
            &mut text,
            "http_server_exceptions_total",
            "counter",
            "The total number of requests that failed inside of the director.",
        );
        for (exception, count) in &counts.exceptions {
            let exception = escape(exception);
            let _ = writeln!(
                text,
                "http_server_exceptions_total{{exception=\"{exception}\"}} {count}"
            );
        }
        text
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(text, "# TYPE {name} {kind}\n# HELP {name} {help}\n");
}

/// Ids become `:id`, UUIDs `:uuid`, names of deployments `:deployment`.
fn without_names(path: &str) -> String {
    let mut before = "";
    let mut parts = Vec::new();
    for part in path.split('/') {
        parts.push(if before == "deployments" && !part.is_empty() {
            ":deployment"
        } else if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            ":id"
        } else if part.len() == 36 && uuid::Uuid::try_parse(part).is_ok() {
            ":uuid"
        } else {
            part
        });
        before = part;
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_counted_without_the_names_of_objects() {
        for (path, label) in [
            ("/tasks/12/output", "/tasks/:id/output"),
            (
                "/deployments/7/jobs/web/0f8fad5b-d9cb-469f-a165-70867728950e",
                "/deployments/:deployment/jobs/web/:uuid",
            ),
            ("/deployments", "/deployments"),
        ] {
            assert_eq!(without_names(path), label);
        }
    }

    #[test]
    fn made_up_paths_are_counted_as_one_after_the_first_thousand() {
        let requests = Requests::default();
        for number in 0..MOST_PATHS + 20 {
            let path = format!("/releases/x{number}");
            requests.record("GET", &path, 404, Duration::from_millis(20), None);
        }
        let text = requests.render();
        assert!(text.contains("{code=\"404\",method=\"GET\",path=\"/:other\"} 20\n"));
        assert!(text.contains("path=\"/releases/x0\",le=\"0.01\"} 0\n"));
        assert!(text.contains("path=\"/releases/x0\",le=\"0.025\"} 1\n"));
    }
}
