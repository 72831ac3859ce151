//! What a command says: lines, tables, and steps that take a while.

use std::fmt::Display;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a waiting step moves on a terminal.
const ICONS: [&str; 4] = ["◐", "◓", "◑", "◒"];
const FRAME: Duration = Duration::from_millis(100);

/// A step that takes longer than this is announced before it is done, where nothing moves.
const ANNOUNCE_AFTER: Duration = Duration::from_secs(1);

const GREEN: &str = "\x1b[32m";
const CYAN: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

/// Where a command writes to. Clones write to the same place.
#[derive(Clone)]
pub struct Output {
    to: Arc<Mutex<Box<dyn Write + Send>>>,
    /// Whether to animate and colour: only for people at a terminal.
    live: bool,
}

impl Output {
    /// To any writer; `live` if a person watches it.
    pub fn new(to: impl Write + Send + 'static, live: bool) -> Self {
        Self { to: Arc::new(Mutex::new(Box::new(to))), live }
    }

    /// To standard output; live if that is a terminal and `animate`.
    pub fn stdout(animate: bool) -> Self {
        use std::io::IsTerminal;
        let stdout = std::io::stdout();
        let live = animate && stdout.is_terminal();
        Self::new(stdout, live)
    }

    /// One line, or several.
    pub fn line(&self, text: impl Display) {
        self.write(&format!("{text}\n"));
    }

    /// Text as it is.
    pub fn text(&self, text: impl Display) {
        self.write(&text.to_string());
    }

    /// Something that is done.
    pub fn done(&self, message: impl Display) {
        if self.live {
            self.write(&format!("\r\x1b[K{GREEN}✔{PLAIN} {message}\n"));
        } else {
            self.write(&format!("✔ {message}\n"));
        }
    }

    /// Shows that something is going on until it is done. Failures are not reported here.
    pub async fn step<R, E>(&self, message: &str, work: impl Future<Output = Result<R, E>>) -> Result<R, E> {
        let mut work = std::pin::pin!(work);
        let mut frame = 0;
        let mut tick = tokio::time::interval(if self.live { FRAME } else { ANNOUNCE_AFTER });
        tick.tick().await; // the first comes at once
        let result = loop {
            tokio::select! {
                biased;
                result = &mut work => break result,
                _ = tick.tick() => {
                    if self.live {
                        self.write(&format!("\r\x1b[K{CYAN}{}{PLAIN} {message}", ICONS[frame % ICONS.len()]));
                    } else if frame == 0 {
                        self.write(&format!("{} {message}\n", ICONS[0]));
                    }
                    frame += 1;
                }
            }
        };
        match &result {
            Ok(_) => self.done(message),
            Err(_) if self.live => self.write("\r\x1b[K"),
            Err(_) => {}
        }
        result
    }

    /// A reader that went away (`kflex list | head -1`) is no reason to fail.
    fn write(&self, text: &str) {
        let mut to = self.to.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What a command wrote.
    #[derive(Clone, Default)]
    pub(crate) struct Page(Arc<Mutex<Vec<u8>>>);

    impl Page {
        pub(crate) fn output(&self) -> Output {
            Output::new(self.clone(), false)
        }

        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn steps_without_a_terminal_are_lines() {
        let page = Page::default();
        let output = page.output();
        let quick: Result<u8, ()> = output.step("Quick...", async { Ok(1) }).await;
        assert_eq!(quick, Ok(1));
        let slow: Result<(), ()> = output
            .step("Slow...", async {
                tokio::time::sleep(Duration::from_secs(5)).await;
                Ok(())
            })
            .await;
        assert_eq!(slow, Ok(()));
        let failed: Result<(), u8> = output.step("Failed...", async { Err(7) }).await;
        assert_eq!(failed, Err(7));
        assert_eq!(page.text(), "✔ Quick...\n◐ Slow...\n✔ Slow...\n");
    }
}
