//! What a server costs while it does nothing, how fast it starts, and what it finds again after kill -9.

use crate::machine;
use crate::process::{Background, Process, Usage};
use crate::report::Report;
use crate::statistics::{Sample, milliseconds, ms};
use anyhow::{Context, Result, anyhow, bail, ensure};
use api::{Object, ObjectName, Resource};
use client::kubeconfig::KubeconfigSet;
use client::{Client, ListParams};
use clock::Stopwatch;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
/// Bytes of text in each stored ConfigMap.
const TEXT_BYTES: usize = 1000;
/// Requests in flight while objects are stored.
const IN_FLIGHT: usize = 64;
/// How long the idle server is looked at.
const IDLE_TIME: Duration = Duration::from_secs(5);
/// After what was asked of a server, it is left alone this long before its memory is read.
const REST_TIME: Duration = Duration::from_secs(1);
/// How often a server or the commands are started.
const STARTS: usize = 10;

/// Memory, cold start, restart after kill -9, and idle processor time of a server process
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Memory {
    /// Empty spaces
    #[arg(long, default_value_t = 100)]
    spaces: usize,
    /// Stored objects for the start with content
    #[arg(long, default_value_t = 10_000)]
    objects: usize,
}

/// The folder of one server and its user.
struct Home {
    folder: PathBuf,
    programs: PathBuf,
}

impl Home {
    fn new(folder: &Path, name: &str, programs: &Path) -> Result<Self> {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(Self { folder, programs: programs.to_owned() })
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn serve(&self) -> Result<Process> {
        Process::start(&self.programs.join("kubestellar"), &self.data())
    }

    /// Runs `kflex WORDS` to its end, as a user whose home is the folder.
    fn kflex(&self, words: &[&str]) -> Result<Duration> {
        let watch = Stopwatch::start();
        let output = Command::new(self.programs.join("kflex"))
            .args(words)
            .env("HOME", &self.folder)
            .env("KUBECONFIG", self.folder.join("kubeconfig"))
            .env("KUBESTELLAR_DATA", self.data())
            .output()
            .context("start kflex")?;
        if !output.status.success() {
            bail!("kflex {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(watch.elapsed())
    }

    /// `kflex init`: the server that it started, and how long it took.
    fn init(&self) -> Result<(Background, Duration)> {
        let duration = self.kflex(&["init", "--listen", &free_address()?])?;
        let word = std::fs::read_to_string(self.data().join("server.pid")).context("read the server's word")?;
        Ok((Background(word.trim().parse().context("the server's process number")?), duration))
    }

    fn client(&self, file: &Path, context: Option<&str>) -> Result<Client> {
        let set: KubeconfigSet = client::kubeconfig::read(&[file.to_owned()])?;
        let endpoint = set.endpoint(context).map_err(|error| anyhow!("{}: {error}", file.display()))?;
        Ok(Client::https(endpoint)?)
    }
}

impl Memory {
    pub(crate) async fn run<W: Write>(&self, report: &mut Report<W>, folder: &Path, programs: &Path) -> Result<()> {
        for program in ["kubestellar", "kflex"] {
            let path = programs.join(program);
            ensure!(path.exists(), "no {}: `cargo build --release -p kubestellar`", path.display());
        }
        let conditions = machine::conditions();
        report.line(&format!("machine: {conditions}"))?;
        report.keep("machine", conditions);
        let disk = machine::probe_disk(folder)?;
        report.line(&machine::probe_line(&disk))?;
        report.keep("disk", disk.json());
        three_commands(report, folder, programs)?;
        cold_start(report, folder, programs)?;
        self.empty_spaces(report, folder, programs).await?;
        self.kill_and_restart(report, folder, programs).await
    }

    async fn empty_spaces<W: Write>(&self, report: &mut Report<W>, folder: &Path, programs: &Path) -> Result<()> {
        report.heading("memory of an idle server")?;
        let home = Home::new(folder, "spaces", programs)?;
        let (server, _) = home.init()?;
        home.kflex(&["create", "space-000", "--type", "k8s"])?;
        tokio::time::sleep(REST_TIME).await;
        let one = server.usage()?;
        let mut creations = Sample::default();
        for index in 1..self.spaces {
            creations.add(home.kflex(&["create", &format!("space-{index:03}"), "--type", "k8s"])?);
        }
        tokio::time::sleep(REST_TIME).await;
        let many = server.usage()?;
        let idle = idle(|| server.usage()).await?;
        drop(server);
        let server = home.serve()?;
        let restarted_after = server.ready_after;
        tokio::time::sleep(REST_TIME).await;
        let restarted = server.usage()?;
        server.kill()?;

        let row = |name: String, usage: &Usage| {
            vec![
                name,
                mib(usage.resident_kib),
                mib(usage.anonymous_kib),
                mib(usage.peak_kib),
                usage.threads.to_string(),
            ]
        };
        let rows = [
            row("1 empty space".into(), &one),
            row(format!("{} empty spaces", self.spaces), &many),
            row(format!("{} empty spaces, after a restart", self.spaces), &restarted),
        ];
        report.table(&["server with", "RSS MiB", "of it anonymous", "peak MiB", "threads"], &rows)?;
        let spaces = u64::try_from(self.spaces - 1)?.max(1);
        let each = |usage: &Usage| usage.anonymous_kib.saturating_sub(one.anonymous_kib) / spaces;
        report.line(&format!(
            "each further space: {} KiB while made by requests, {} KiB after a restart",
            each(&many),
            each(&restarted)
        ))?;
        report.line(&format!(
            "kflex create --type k8s, whole command: p50 {} ms, p99 {} ms ({} times)",
            ms(creations.median()),
            ms(creations.percentile(99)),
            creations.count()
        ))?;
        report.line(&format!("ready again with {} spaces after {} ms", self.spaces, ms(restarted_after)))?;
        report.line(&format!("idle for {} s: {} ms of processor time", IDLE_TIME.as_secs(), ms(idle)))?;
        report.keep(
            "memory",
            json!({
                "spaces": self.spaces,
                "one": usage_json(&one), "many": usage_json(&many), "restarted": usage_json(&restarted),
                "each_kib": each(&many), "each_restarted_kib": each(&restarted),
                "create_command": creations.json(),
                "restart_ms": milliseconds(restarted_after),
                "idle_processor_ms_of_5s": milliseconds(idle),
            }),
        );
        Ok(())
    }

    async fn kill_and_restart<W: Write>(&self, report: &mut Report<W>, folder: &Path, programs: &Path) -> Result<()> {
        report.heading(&format!("kill -9 with {} objects stored, and restart", self.objects))?;
        let home = Home::new(folder, "objects", programs)?;
        let server = home.serve()?;
        let admin = home.data().join("admin.kubeconfig");
        let client = home.client(&admin, None)?;
        let watch = Stopwatch::start();
        let creating = stream::iter(0..self.objects).map(|index| {
            let client = &client;
            async move {
                let name = ObjectName::namespaced("default", format!("object-{index:05}"));
                let mut object = Object::new("v1", "ConfigMap", &name);
                object.0.insert("data".into(), json!({"text": "x".repeat(TEXT_BYTES)}));
                client.create::<Value>(&CONFIG_MAPS, "default", &object).await.map(drop)
            }
        });
        creating.buffer_unordered(IN_FLIGHT).try_collect::<()>().await.context("store objects")?;
        let stored = watch.elapsed();
        let before = versions(&client).await?;
        let full = server.usage()?;
        // Acknowledged and nothing else done: what is durable now is all there is.
        server.kill()?;

        let mut starts = Sample::default();
        let mut restarted = Usage::default();
        for _ in 0..STARTS {
            let server = home.serve()?;
            starts.add(server.ready_after);
            let client = home.client(&admin, None)?;
            let watch = Stopwatch::start();
            let after = versions(&client).await?;
            let listed = watch.elapsed();
            ensure!(after == before, "{}", difference(&before, &after));
            restarted = server.usage()?;
            if starts.count() == STARTS {
                report.line(&format!("listing all after the restart: {} ms", ms(listed)))?;
                tokio::time::sleep(REST_TIME).await;
                let idle = idle(|| server.usage()).await?;
                report.line(&format!("idle for {} s: {} ms of processor time", IDLE_TIME.as_secs(), ms(idle)))?;
            }
            server.kill()?;
        }
        #[allow(clippy::cast_precision_loss)]
        let rate = self.objects as f64 / stored.as_secs_f64();
        report.line(&format!(
            "storing them, {IN_FLIGHT} requests in flight: {} ms ({rate:.0} durable writes/s)",
            ms(stored)
        ))?;
        report
            .line(&format!("all {} objects and their resourceVersions are as before, {STARTS} times", before.len()))?;
        report.line(&format!(
            "ready after kill -9: p50 {} ms, max {} ms; RSS {} MiB after storing, {} MiB after a restart and a list",
            ms(starts.median()),
            ms(starts.max()),
            mib(full.resident_kib),
            mib(restarted.resident_kib)
        ))?;
        report.keep(
            "kill",
            json!({
                "objects": before.len(), "store_ms": milliseconds(stored), "ready": starts.json(),
                "full": usage_json(&full), "restarted": usage_json(&restarted),
            }),
        );
        Ok(())
    }
}

/// `kflex init && kflex create imbs && kflex create wds`.
fn three_commands<W: Write>(report: &mut Report<W>, folder: &Path, programs: &Path) -> Result<()> {
    report.heading("kflex init && kflex create imbs && kflex create wds")?;
    let mut totals = Sample::default();
    let mut steps = [Sample::default(), Sample::default(), Sample::default()];
    for round in 0..STARTS {
        let home = Home::new(folder, &format!("commands-{round}"), programs)?;
        let (_server, init) = home.init()?;
        let imbs = home.kflex(&["create", "imbs"])?;
        let wds = home.kflex(&["create", "wds"])?;
        totals.add(init + imbs + wds);
        for (sample, duration) in steps.iter_mut().zip([init, imbs, wds]) {
            sample.add(duration);
        }
    }
    let row = |name: &str, sample: &Sample| {
        vec![name.to_owned(), ms(sample.median()), ms(sample.max()), sample.count().to_string()]
    };
    let rows = [
        row("kflex init", &steps[0]),
        row("kflex create imbs", &steps[1]),
        row("kflex create wds", &steps[2]),
        row("all three", &totals),
    ];
    report.table(&["command", "p50 ms", "max ms", "times"], &rows)?;
    report.keep("three_commands", totals.json());
    Ok(())
}

fn cold_start<W: Write>(report: &mut Report<W>, folder: &Path, programs: &Path) -> Result<()> {
    report.heading("cold start, from the start of the process to \"ready\"")?;
    let mut starts = Sample::default();
    for round in 0..STARTS {
        let server = Home::new(folder, &format!("cold-{round}"), programs)?.serve()?;
        starts.add(server.ready_after);
        server.kill()?;
    }
    report.line(&format!(
        "empty folder: p50 {} ms, max {} ms ({STARTS} times)",
        ms(starts.median()),
        ms(starts.max())
    ))?;
    report.keep("cold_start", starts.json());
    Ok(())
}

/// A port that is free now. Another process could take it before the server does; then `init` says so.
fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    Ok(listener.local_addr().context("the listener's address")?.to_string())
}

/// Processor time of a server that nobody asks anything.
async fn idle(usage: impl Fn() -> Result<Usage>) -> Result<Duration> {
    let before = usage()?.processor;
    tokio::time::sleep(IDLE_TIME).await;
    Ok(usage()?.processor.saturating_sub(before))
}

/// What tells whether an object is the same: its uid and its resourceVersion, by name.
async fn versions(client: &Client) -> Result<BTreeMap<ObjectName, (String, String)>> {
    let list = client.list::<Object>(&CONFIG_MAPS, "", &ListParams::default()).await.context("list all ConfigMaps")?;
    let version =
        |object: &Object| (object.object_name(), (object.uid().to_owned(), object.resource_version().to_owned()));
    Ok(list.items.iter().map(version).collect())
}

fn difference(
    before: &BTreeMap<ObjectName, (String, String)>,
    after: &BTreeMap<ObjectName, (String, String)>,
) -> String {
    let other = before.keys().chain(after.keys()).find(|name| before.get(*name) != after.get(*name));
    match other {
        Some(name) => format!(
            "after kill -9 and restart {name} is {:?}, and it was {:?} ({} objects before, {} after)",
            after.get(name),
            before.get(name),
            before.len(),
            after.len()
        ),
        None => "nothing differs".into(),
    }
}

#[allow(clippy::cast_precision_loss)]
fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

fn usage_json(usage: &Usage) -> Value {
    json!({
        "resident_kib": usage.resident_kib, "anonymous_kib": usage.anonymous_kib, "peak_kib": usage.peak_kib,
        "threads": usage.threads,
    })
}
