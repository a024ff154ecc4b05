//! A wire to PostgreSQL on which the answers to commits get lost: what was asked for is done, and nobody hears so.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinHandle,
};

/// The wire; it ends with this.
pub struct Wire {
    /// The database behind it.
    pub url: String,
    commits: Arc<Commits>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Commits {
    /// The answer to each of so many is lost; 0: to none.
    every: AtomicUsize,
    seen: AtomicUsize,
    lost: AtomicUsize,
}

impl Commits {
    fn is_to_be_lost(&self, said: &[u8]) -> bool {
        let every = self.every.load(Ordering::SeqCst);
        if memchr::memmem::find(said, b"COMMIT\0").is_none() || every == 0 {
            return false;
        }
        let lost = (self.seen.fetch_add(1, Ordering::SeqCst) + 1).is_multiple_of(every);
        self.lost.fetch_add(usize::from(lost), Ordering::SeqCst);
        lost
    }
}

impl Wire {
    /// A wire to the database at `url`.
    pub async fn to(url: &str) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let here = listener.local_addr().expect("it is bound");
        let (head, rest) = url.split_once("://").expect("a URL has a scheme");
        let (authority, path) = rest.split_once('/').expect("a URL names a database");
        let user = authority.rsplit_once('@').map_or(String::new(), |(user, _)| format!("{user}@"));
        let database = path.split('?').next().unwrap_or_default();
        let options: PgConnectOptions = url.parse().expect("a URL of PostgreSQL");
        let commits = Arc::<Commits>::default();
        let accepting = tokio::spawn(accept(listener, options, Arc::clone(&commits)));
        Wire { url: format!("{head}://{user}{here}/{database}?sslmode=disable"), commits, accepting }
    }

    /// Loses the answer to each of `n` commits from now on, and the connection with it; 0: to none.
    pub fn lose_every(&self, n: usize) {
        self.commits.every.store(n, Ordering::SeqCst);
    }

    /// How many answers were lost.
    pub fn lost(&self) -> usize {
        self.commits.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, options: PgConnectOptions, commits: Arc<Commits>) {
    while let Ok((client, _)) = listener.accept().await {
        let (options, commits) = (options.clone(), Arc::clone(&commits));
        tokio::spawn(async move {
            let _ = client.set_nodelay(true);
            match options.get_socket() {
                Some(folder) => {
                    let socket = folder.join(format!(".s.PGSQL.{}", options.get_port()));
                    carry(client, UnixStream::connect(socket).await?, &commits).await
                }
                None => {
                    let server = TcpStream::connect((options.get_host(), options.get_port())).await?;
                    server.set_nodelay(true)?;
                    carry(client, server, &commits).await
                }
            }
        });
    }
}

/// Carries both ways, until an end or a commit whose answer is to be lost.
async fn carry(
    mut client: TcpStream,
    mut server: impl AsyncRead + AsyncWrite + Unpin,
    commits: &Commits,
) -> std::io::Result<()> {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            n = client.read(&mut asked) => {
                let said = &asked[..n?];
                if said.is_empty() {
                    return Ok(());
                }
                server.write_all(said).await?;
                if commits.is_to_be_lost(said) {
                    // It is done when the server says so.
                    return server.read(&mut answered).await.map(drop);
                }
            }
            n = server.read(&mut answered) => {
                let said = &answered[..n?];
                if said.is_empty() {
                    return Ok(());
                }
                client.write_all(said).await?;
            }
        }
    }
}
