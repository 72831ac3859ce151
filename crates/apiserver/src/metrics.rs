//! Counts of what was asked, in the form that Prometheus reads.

use crate::Store;
use http::StatusCode;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

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
        let _ = writeln!(text, "# TYPE kubestellar_store_revision counter");
        let _ = writeln!(text, "kubestellar_store_revision {}", store.head().0);
        text
    }
}
