//! The API of a space beside that of a stock kube-apiserver with etcd, on the same machine, one after the other.

use crate::machine;
use crate::process::{Process, Usage};
use crate::report::Report;
use crate::statistics::{Sample, milliseconds, ms};
use crate::stock::Stock;
use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use client::{Body, Client, Endpoint};
use clock::Stopwatch;
use futures_util::future::{join_all, try_join_all};
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Bytes of text in each ConfigMap.
const TEXT_BYTES: usize = 1000;
/// Clients that write at once, each on a connection of its own.
const WRITERS: [usize; 3] = [1, 16, 64];
/// Clients that read at once.
const READERS: [usize; 2] = [1, 16];
/// How often all objects are listed.
const LISTS: usize = 5;
/// Watches on one connection: fewer than any server's limit of streams.
const WATCHES_PER_CONNECTION: usize = 100;
/// Nobody waits longer for the events of a watch.
const EVENTS_TIMEOUT: Duration = Duration::from_secs(120);
/// Before memory is read, the server is left alone.
const REST_TIME: Duration = Duration::from_secs(1);

/// Writes, gets, lists, watches and memory, beside a stock server if its programs are named
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Api {
    /// Folder with etcd and kube-apiserver (`interop/stock` prints it)
    #[arg(long, value_name = "FOLDER")]
    stock: Option<PathBuf>,
    /// Seconds of each measurement of writes and gets
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Objects that are there when all are listed
    #[arg(long, default_value_t = 10_000)]
    objects: usize,
    /// Watchers of one collection
    #[arg(long, default_value_t = 1000)]
    watchers: usize,
    /// Objects that are written while all watch
    #[arg(long, default_value_t = 200)]
    fanned: usize,
    /// Watches of our server that nothing happens in
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
}

/// One measured number, and whether more of it is better.
type Numbers = BTreeMap<&'static str, f64>;

/// What is measured: its row, whether less is better, and how many times better than the stock server it should be.
const AIMS: [(&str, bool, f64); 10] = [
    ("writes/s, 1 client", false, 1.0),
    ("writes/s, 16 clients", false, 10.0),
    ("writes/s, 64 clients", false, 10.0),
    ("gets/s, 1 client", false, 10.0),
    ("gets/s, 16 clients", false, 10.0),
    ("list of all, ms", true, 8.0),
    ("watch events/s", false, 10.0),
    (RSS_FILLED, true, 10.0),
    (RSS_BEFORE, true, 10.0),
    (RSS_AFTER, true, 10.0),
];

const RSS_BEFORE: &str = "RSS before, MiB";
/// Of the same objects in both.
const RSS_FILLED: &str = "RSS with the listed objects, MiB";
/// Of as many objects as each has taken in its time: the faster server holds more.
const RSS_AFTER: &str = "RSS after it, MiB";

impl Api {
    pub(crate) async fn run<W: Write>(&self, report: &mut Report<W>, folder: &Path, programs: &Path) -> Result<()> {
        let program = programs.join("kubestellar");
        ensure!(program.exists(), "no {}: `cargo build --release -p kubestellar`", program.display());
        let conditions = machine::conditions();
        report.line(&format!("machine: {conditions}"))?;
        report.keep("machine", conditions);
        let disk = machine::probe_disk(folder)?;
        report.line(&machine::probe_line(&disk))?;

        let data = folder.join("ours");
        let server = Process::start(&program, &data)?;
        let set = client::kubeconfig::read(&[data.join("admin.kubeconfig")])?;
        let endpoint = set.endpoint(None).map_err(|error| anyhow!("the server's kubeconfig: {error}"))?;
        let ours = self.measure(report, "ours", &endpoint, &|| Ok(server.usage()?.resident_kib)).await?;
        self.sync_times(report, &endpoint).await?;
        server.kill()?;

        let mut stock_numbers = Numbers::new();
        if let Some(programs) = &self.stock {
            let stock = Stock::start(programs, &folder.join("stock")).await?;
            let resident = || stock.ids().into_iter().map(|id| Ok(Usage::of(id)?.resident_kib)).sum();
            stock_numbers = self.measure(report, "stock", &stock.endpoint, &resident).await?;
        }
        let after = machine::probe_disk(folder)?;
        report.line(&format!("after it, {}", machine::probe_line(&after)))?;
        report.heading("side by side")?;
        let mut rows = Vec::new();
        for (name, less, aim) in AIMS {
            let Some(own) = ours.get(name) else { continue };
            let beside = stock_numbers.get(name);
            let ratio = beside.map(|stock| if less { stock / own } else { own / stock });
            let said = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), |number| format!("{number:.1}"));
            rows.push(vec![name.to_owned(), said(Some(*own)), said(beside.copied()), said(ratio), format!("{aim}")]);
        }
        report.table(&["what", "ours", "stock", "times better", "aim"], &rows)?;
        report.keep("ours", json!(ours));
        report.keep("stock", json!(stock_numbers));

        let server = Process::start(&program, &folder.join("idle"))?;
        let set = client::kubeconfig::read(&[folder.join("idle").join("admin.kubeconfig")])?;
        let endpoint = set.endpoint(None).map_err(|error| anyhow!("the server's kubeconfig: {error}"))?;
        self.idle_watches(report, &endpoint, &server).await?;
        server.kill()
    }

    async fn measure<W: Write>(
        &self,
        report: &mut Report<W>,
        name: &str,
        endpoint: &Endpoint,
        resident: &dyn Fn() -> Result<u64>,
    ) -> Result<Numbers> {
        report.heading(name)?;
        let ticks = machine::Ticks::now();
        let mut numbers = Numbers::new();
        numbers.insert(RSS_BEFORE, mib(resident()?));
        let listed = self.lists(endpoint).await?;
        report.line(&format!(
            "list of {} objects: p50 {} ms, max {} ms",
            self.objects,
            ms(listed.median()),
            ms(listed.max())
        ))?;
        numbers.insert(AIMS[5].0, milliseconds(listed.median()));
        tokio::time::sleep(REST_TIME).await;
        numbers.insert(RSS_FILLED, mib(resident()?));
        let made = AtomicUsize::new(0);
        for (writers, row) in WRITERS.into_iter().zip(AIMS) {
            let create = |client: Client| {
                let made = &made;
                async move {
                    let index = made.fetch_add(1, Ordering::Relaxed);
                    let body = config_map(&format!("made-{index:07}"), "");
                    send(&client, Method::POST, CONFIG_MAPS, body).await.map(drop)
                }
            };
            let (rate, times) = self.rate(endpoint, writers, create).await?;
            report.line(&told(row.0, rate, &times))?;
            numbers.insert(row.0, rate);
        }
        let first = format!("{CONFIG_MAPS}/made-0000000");
        for (readers, row) in READERS.into_iter().zip(&AIMS[3..]) {
            let get = |client: Client| {
                let path = first.clone();
                async move { send(&client, Method::GET, &path, Bytes::new()).await.map(drop) }
            };
            let (rate, times) = self.rate(endpoint, readers, get).await?;
            report.line(&told(row.0, rate, &times))?;
            numbers.insert(row.0, rate);
        }
        let rate = self.fan_out(endpoint).await?;
        report.line(&format!("{} watchers: {rate:.0} events/s", self.watchers))?;
        numbers.insert(AIMS[6].0, rate);
        tokio::time::sleep(REST_TIME).await;
        numbers.insert(RSS_AFTER, mib(resident()?));
        let objects = made.load(Ordering::Relaxed) + self.objects + self.fanned;
        report.line(&format!("RSS {:.0} MiB after it, with {objects} objects", numbers[RSS_AFTER]))?;
        let (busy, stolen) = machine::Ticks::now().since(ticks);
        report.line(&format!("processors {busy} % busy, {stolen} % stolen"))?;
        Ok(numbers)
    }

    /// How often `work` is done in a second by some clients, each of which does it again and again.
    async fn rate<F>(&self, endpoint: &Endpoint, clients: usize, work: impl Fn(Client) -> F) -> Result<(f64, Sample)>
    where
        F: Future<Output = Result<()>>,
    {
        let connected: Vec<Client> =
            (0..clients).map(|_| Client::https(endpoint.clone())).collect::<client::Result<_>>()?;
        // The first request of each makes its connection.
        try_join_all(connected.iter().map(|client| send(client, Method::GET, "/version", Bytes::new()))).await?;
        let watch = Stopwatch::start();
        let limit = Duration::from_secs(self.seconds);
        let one = |client: &Client| {
            let (client, work, watch) = (client.clone(), &work, &watch);
            async move {
                let mut times = Vec::new();
                while watch.elapsed() < limit {
                    let one = Stopwatch::start();
                    work(client.clone()).await?;
                    times.push(one.elapsed());
                }
                Ok::<_, anyhow::Error>(times)
            }
        };
        let times: Sample = try_join_all(connected.iter().map(one)).await?.into_iter().flatten().collect();
        #[allow(clippy::cast_precision_loss)]
        let rate = times.count() as f64 / watch.elapsed().as_secs_f64();
        Ok((rate, times))
    }

    async fn lists(&self, endpoint: &Endpoint) -> Result<Sample> {
        // In a namespace of its own, so that both servers list as many.
        let client = Client::https(endpoint.clone())?;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "listed"}});
        send(&client, Method::POST, "/api/v1/namespaces", namespace.to_string().into()).await?;
        let path = "/api/v1/namespaces/listed/configmaps";
        let next = AtomicUsize::new(0);
        let fill = |_| async {
            while let index = next.fetch_add(1, Ordering::Relaxed)
                && index < self.objects
            {
                send(&client, Method::POST, path, config_map(&format!("listed-{index:06}"), "")).await?;
            }
            Ok::<_, anyhow::Error>(())
        };
        try_join_all((0..WRITERS[1]).map(fill)).await?;
        let mut sample = Sample::default();
        for _ in 0..LISTS {
            let watch = Stopwatch::start();
            let bytes = send(&client, Method::GET, path, Bytes::new()).await?;
            sample.add(watch.elapsed());
            ensure!(bytes.len() > self.objects * TEXT_BYTES, "the list is too short: {} bytes", bytes.len());
        }
        Ok(sample)
    }

    /// Events that all watchers together are given in a second.
    async fn fan_out(&self, endpoint: &Endpoint) -> Result<f64> {
        let query = format!("{CONFIG_MAPS}?watch=true&labelSelector=fanned");
        let watches = open_watches(endpoint, &query, self.watchers).await?;
        let client = Client::https(endpoint.clone())?;
        send(&client, Method::GET, "/version", Bytes::new()).await?;
        let watch = Stopwatch::start();
        let reading: Vec<_> = watches.into_iter().map(|body| tokio::spawn(read_events(body, self.fanned))).collect();
        for index in 0..self.fanned {
            send(&client, Method::POST, CONFIG_MAPS, config_map(&format!("fanned-{index}"), "fanned")).await?;
        }
        for read in join_all(reading).await {
            read.context("a watcher ended")??;
        }
        #[allow(clippy::cast_precision_loss)]
        Ok((self.watchers * self.fanned) as f64 / watch.elapsed().as_secs_f64())
    }

    /// What the store of our server says of its syncs.
    async fn sync_times<W: Write>(&self, report: &mut Report<W>, endpoint: &Endpoint) -> Result<()> {
        let client = Client::https(endpoint.clone())?;
        let text = send(&client, Method::GET, "/metrics", Bytes::new()).await?;
        for line in String::from_utf8_lossy(&text)
            .lines()
            .filter(|line| line.contains("store_sync_duration") && !line.starts_with('#'))
        {
            report.line(&format!("  {line}"))?;
        }
        Ok(())
    }

    async fn idle_watches<W: Write>(
        &self,
        report: &mut Report<W>,
        endpoint: &Endpoint,
        server: &Process,
    ) -> Result<()> {
        report.heading(&format!("{} idle watches", self.idle))?;
        tokio::time::sleep(REST_TIME).await;
        let before = server.usage()?.resident_kib;
        let watches =
            open_watches(endpoint, &format!("{CONFIG_MAPS}?watch=true&labelSelector=nothing"), self.idle).await?;
        tokio::time::sleep(REST_TIME).await;
        let after = server.usage()?.resident_kib;
        #[allow(clippy::cast_precision_loss)]
        let each = after.saturating_sub(before) as f64 / self.idle.max(1) as f64;
        report.line(&format!(
            "RSS {:.1} MiB before, {:.1} MiB with them: {each:.1} KiB each",
            mib(before),
            mib(after)
        ))?;
        report.keep("idle_watches", json!({"watches": self.idle, "before_kib": before, "after_kib": after}));
        drop(watches);
        Ok(())
    }
}

/// Opens watches, a hundred on a connection.
async fn open_watches(endpoint: &Endpoint, path: &str, count: usize) -> Result<Vec<Body>> {
    let mut open = Vec::with_capacity(count);
    while open.len() < count {
        let client = Client::https(endpoint.clone())?;
        let most = WATCHES_PER_CONNECTION.min(count - open.len());
        let ask = |_| async {
            let request = Request::builder().uri(path).body(Bytes::new()).context("make a request")?;
            let response = client.request(request).await?;
            ensure!(response.status().is_success(), "a watch is answered with {}", response.status());
            Ok(response.into_body())
        };
        open.extend(try_join_all((0..most).map(ask)).await?);
    }
    Ok(open)
}

/// Reads as many lines of a watch.
async fn read_events(mut body: Body, count: usize) -> Result<()> {
    let reading = async {
        let mut seen = 0;
        while seen < count {
            let frame = body.frame().await.context("the watch ended")?.map_err(|error| anyhow!("{error}"))?;
            let bytes = frame.into_data().unwrap_or_default();
            // Searched for as fast as the machine can: what the client does here is measured with the server.
            seen += memchr::memchr_iter(b'\n', &bytes).count();
        }
        Ok(())
    };
    tokio::time::timeout(EVENTS_TIMEOUT, reading).await.context("events did not come in time")?
}

async fn send(client: &Client, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let response = client.request(request.body(body).context("make a request")?).await?;
    let status = response.status();
    let bytes = response.into_body().collect().await.map_err(|error| anyhow!("{path}: {error}"))?.to_bytes();
    ensure!(status.is_success(), "{path} is answered with {status}: {}", String::from_utf8_lossy(&bytes));
    Ok(bytes)
}

/// Written out, so that as little of the time as can be goes into the client.
fn config_map(name: &str, label: &str) -> Bytes {
    const TEXT: [u8; TEXT_BYTES] = [b'x'; TEXT_BYTES];
    let labels = if label.is_empty() { String::new() } else { format!(r#","labels":{{"{label}":"yes"}}"#) };
    let head =
        format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"{labels}}},"data":{{"text":""#);
    [head.as_bytes(), &TEXT, br#""}}"#].concat().into()
}

fn told(what: &str, rate: f64, times: &Sample) -> String {
    format!("{what}: {rate:.0} (p50 {} ms, p99 {} ms)", ms(times.median()), ms(times.percentile(99)))
}

#[allow(clippy::cast_precision_loss)]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
