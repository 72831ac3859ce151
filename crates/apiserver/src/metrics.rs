//! Counts of what was asked, in the form that Prometheus reads.

use crate::Store;
use http::StatusCode;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use store::Histogram;

/// Counters of one server.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// By class of the answer's code: 1xx to 5xx.
    answers: [AtomicU64; 5],
    /// Open watches.
    pub(crate) watches: AtomicI64,
}

impl Metrics {
    /// Counts an answer.
    pub(crate) fn answered(&self, code: StatusCode) {
        let class = usize::from(code.as_u16() / 100).clamp(1, 5) - 1;
        self.answers[class].fetch_add(1, Ordering::Relaxed);
    }

    /// The text of `/metrics`.
    pub(crate) fn render(&self, store: &Store) -> String {
        let mut text = String::from("# TYPE apiserver_request_total counter\n");
        for (class, count) in self.answers.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(text, "apiserver_request_total{{code=\"{}xx\"}} {count}", class + 1);
        }
        let watches = self.watches.load(Ordering::Relaxed);
        let _ = writeln!(text, "# TYPE apiserver_longrunning_requests gauge");
        let _ = writeln!(text, "apiserver_longrunning_requests{{verb=\"WATCH\"}} {watches}");
        let stored = store.metrics();
        for (name, kind, help, value) in [
            ("store_revision", "counter", "Revision of the last commit", store.head().0),
            (
                "store_durable_revision",
                "counter",
                "Revision up to which commits would survive a crash",
                store.durable_head().0,
            ),
            ("store_commits_total", "counter", "Commits since the start", stored.commits),
            (
                "store_committed_bytes_total",
                "counter",
                "Bytes of values committed since the start",
                stored.committed_bytes,
            ),
            ("store_objects", "gauge", "Objects that are stored", stored.keys as u64),
            ("store_object_bytes", "gauge", "Bytes of stored objects", stored.bytes as u64),
            ("store_history_events", "gauge", "Events that watches can resume from", stored.events as u64),
            ("store_history_bytes", "gauge", "Bytes that history holds", stored.event_bytes as u64),
            ("store_pending_records", "gauge", "Commits that wait for the disk", stored.pending as u64),
        ] {
            let _ = writeln!(text, "# HELP kubestellar_{name} {help}\n# TYPE kubestellar_{name} {kind}");
            let _ = writeln!(text, "kubestellar_{name} {value}");
        }
        histogram(&mut text, "store_sync_duration_seconds", "Duration of each durable append", &stored.syncs, 1e6);
        histogram(&mut text, "store_batch_records", "Commits of each durable append", &stored.batches, 1.0);
        text
    }
}

/// Writes a histogram whose values are `per_unit` to one of the unit that is shown.
fn histogram(text: &mut String, name: &str, help: &str, histogram: &Histogram, per_unit: f64) {
    #[allow(clippy::cast_precision_loss)] // a count of microseconds is far below 2^52
    let shown = |value: u64| value as f64 / per_unit;
    let _ = writeln!(text, "# HELP kubestellar_{name} {help}\n# TYPE kubestellar_{name} histogram");
    let mut seen = 0;
    for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
        seen += count;
        let _ = writeln!(text, "kubestellar_{name}_bucket{{le=\"{}\"}} {seen}", shown(*bound));
    }
    let all = histogram.count();
    let _ = writeln!(text, "kubestellar_{name}_bucket{{le=\"+Inf\"}} {all}");
    let _ = writeln!(text, "kubestellar_{name}_sum {}\nkubestellar_{name}_count {all}", shown(histogram.sum));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_count_up() {
        let held = Histogram { bounds: &[100, 1_000], counts: vec![2, 1, 4], sum: 5_000, max: 2_000 };
        let mut text = String::new();
        histogram(&mut text, "h", "Help", &held, 1e6);
        let expected = "# HELP kubestellar_h Help\n# TYPE kubestellar_h histogram\n\
            kubestellar_h_bucket{le=\"0.0001\"} 2\nkubestellar_h_bucket{le=\"0.001\"} 3\n\
            kubestellar_h_bucket{le=\"+Inf\"} 7\nkubestellar_h_sum 0.005\nkubestellar_h_count 7\n";
        assert_eq!(text, expected);
    }
}
