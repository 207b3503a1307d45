//! A console that serves until it is dropped, and a client that shows what came over the wire.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use console::{Console, Token};
use tokio::{runtime::Runtime, sync::watch};

use crate::world::{World, of};

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

pub(crate) struct Serving {
    pub(crate) world: Arc<World>,
    pub(crate) address: SocketAddr,
    uploads: tempfile::TempDir,
    stop: watch::Sender<bool>,
    served: tokio::task::JoinHandle<()>,
    runtime: Runtime,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Serving {
    pub(crate) fn start(world: World) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let uploads = tempfile::tempdir().expect("a folder");
        let world = Arc::new(world);
        let token = Token::new(TOKEN).expect("a token");
        let bind = Console::bind(([127, 0, 0, 1], 0).into(), world.clone(), token, uploads.path().to_owned());
        let console = runtime.block_on(bind).expect("a free port");
        let address = console.address().expect("an address");
        let (stop, stopped) = watch::channel(false);
        let served = runtime.spawn(async move { console.serve(stopped).await.expect("it serves") });
        Self { world, address, uploads, stop, served, runtime }
    }

    /// Sends `head` and `body` as they are and reads to the end.
    pub(crate) fn raw(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        stream.write_all(head.as_bytes()).expect("sent");
        stream.write_all(b"\r\nConnection: close\r\n\r\n").expect("sent");
        // A request that is refused by its head may not be read any further.
        let _ = stream.write_all(body);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.raw(&format!("GET {path} HTTP/1.1\r\nHost: {}", self.address), b"")
    }

    /// As a browser of that language asks.
    pub(crate) fn get_in(&self, path: &str, accepts: &str) -> Answer {
        let host = self.address;
        self.raw(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept-Language: {accepts}"), b"")
    }

    /// `headers` each with its line's beginning, as `"\r\nName: value"`.
    pub(crate) fn post(&self, path: &str, token: Option<&str>, headers: &str, body: &[u8]) -> Answer {
        let bearer = token.map(|token| format!("\r\nAuthorization: Bearer {token}")).unwrap_or_default();
        let (host, length) = (self.address, body.len());
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}{bearer}{headers}");
        self.raw(&head, body)
    }

    pub(crate) fn post_json(&self, path: &str, token: Option<&str>, body: &str) -> Answer {
        self.post(path, token, "\r\nContent-Type: application/json", body.as_bytes())
    }

    /// What the site was asked to do.
    pub(crate) fn told(&self) -> Vec<String> {
        of(&self.world.told).clone()
    }

    pub(crate) fn kept_uploads(&self) -> usize {
        fs::read_dir(self.uploads.path()).expect("a folder").count()
    }

    /// Tells the server to stop, and says whether it has within five seconds.
    pub(crate) fn stops(self) -> bool {
        self.stop.send(true).expect("it serves");
        let served = self.served;
        self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), served).await.is_ok() })
    }
}
