//! What the demo tells, and how it sees that something happened: by watching, as any client would.

use anyhow::{Result, anyhow};
use api::{Object, ObjectName, Resource};
use client::{Client, Reflector, Selection};
use clock::Stopwatch;
use std::io::Write;
use std::time::Duration;

/// How long any step may take before the demo says that it failed.
const STEP_TIME_MAX: Duration = Duration::from_secs(15);

/// Tells the steps, with their times.
pub(super) struct Stage<W> {
    out: W,
    started: Stopwatch,
    /// The step that is going on, for when it fails.
    pub(super) current: String,
}

impl<W: Write> Stage<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, started: Stopwatch::start(), current: String::new() }
    }

    /// A heading.
    pub(super) fn chapter(&mut self, text: &str) -> Result<()> {
        writeln!(self.out, "\n{text}")?;
        Ok(())
    }

    pub(super) fn line(&mut self, text: &str) -> Result<()> {
        writeln!(self.out, "{text}")?;
        Ok(())
    }

    /// Does one step and tells how long it took.
    pub(super) async fn step<T>(&mut self, title: &str, doing: impl Future<Output = Result<T>>) -> Result<T> {
        title.clone_into(&mut self.current);
        let watch = Stopwatch::start();
        let done = tokio::time::timeout(STEP_TIME_MAX, doing).await;
        let done = done.unwrap_or_else(|_| Err(anyhow!("not within {} s", STEP_TIME_MAX.as_secs())))?;
        writeln!(self.out, "  \u{2714} {title:<66} {:>9}", milliseconds(watch.elapsed()))?;
        self.out.flush()?;
        Ok(done)
    }

    pub(super) fn total(&self) -> Duration {
        self.started.elapsed()
    }
}

pub(super) fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

/// One resource of one space, watched from now on.
pub(super) struct View {
    reflector: Reflector<Object>,
    what: String,
}

impl View {
    pub(super) async fn open(space: &str, client: &Client, resource: &Resource) -> Self {
        let reflector = Reflector::start(client.clone(), resource.clone(), Selection::all());
        reflector.synced().await;
        Self { reflector, what: format!("{} of {space}", resource.plural) }
    }

    /// Waits until the object is as wished.
    pub(super) async fn until(&self, name: &ObjectName, wish: impl Fn(Option<&Object>) -> bool) -> Result<()> {
        let mut changes = self.reflector.subscribe();
        let waiting = async {
            while !wish(self.reflector.get(name).as_deref()) {
                changes.next().await;
            }
        };
        tokio::time::timeout(STEP_TIME_MAX, waiting).await.map_err(|_| {
            let seen = match self.reflector.get(name) {
                Some(object) => serde_json::to_string(&*object).unwrap_or_default(),
                None => "nothing".into(),
            };
            anyhow!("{name} among the {} is still not as it should be; there is: {seen}", self.what)
        })
    }

    pub(super) async fn until_there(&self, name: &ObjectName) -> Result<()> {
        self.until(name, |object| object.is_some_and(|object| !object.is_deleting())).await
    }

    pub(super) async fn until_gone(&self, name: &ObjectName) -> Result<()> {
        self.until(name, |object| object.is_none()).await
    }
}
