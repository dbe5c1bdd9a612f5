//! Bars for uploads and downloads, when a person watches; nothing otherwise.

use super::Ui;
use director_client::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::{Arc, Mutex};

/// A bar that appears with the first byte and goes with the last.
pub struct TransferBar {
    label: String,
    bar: Mutex<Option<ProgressBar>>,
}

impl TransferBar {
    /// `None` when nobody watches.
    pub fn when_watched(ui: &Ui, label: impl Into<String>) -> Option<Arc<dyn Progress>> {
        if !ui.is_watched() {
            return None;
        }
        Some(Arc::new(TransferBar {
            label: label.into(),
            bar: Mutex::new(None),
        }))
    }

    fn with(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        act(&mut self.bar.lock().unwrap_or_else(|lock| lock.into_inner()));
    }
}

impl Progress for TransferBar {
    fn started(&self, total: Option<u64>) {
        let style = ProgressStyle::with_template(
            "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        )
        .expect("the template is fixed and valid");
        let bar = match total {
            Some(total) => ProgressBar::new(total).with_style(style),
            None => ProgressBar::no_length(),
        };
        self.with(|slot| *slot = Some(bar.with_message(self.label.clone())));
    }

    fn advanced(&self, bytes: u64) {
        self.with(|slot| {
            if let Some(bar) = slot {
                bar.inc(bytes);
            }
        });
    }

    fn finished(&self) {
        self.with(|slot| {
            if let Some(bar) = slot.take() {
                bar.finish_and_clear();
            }
        });
    }
}
