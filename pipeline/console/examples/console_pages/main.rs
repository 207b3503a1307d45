//! Serves every page with made-up data, to be looked at without a running system:
//! `cargo run -p console@0.1.0 --example console_pages [PORT]`, then `http://127.0.0.1:8090/`. The API token is
//! `nothing-real-needs-this-token-00`.

mod lively;
mod reports;
mod world;

use std::{env, error::Error, sync::Arc};

use console::{Console, Token};
use tokio::{runtime::Runtime, sync::watch};

fn main() -> Result<(), Box<dyn Error>> {
    let port = env::args().nth(1).map_or(Ok(8090), |port| port.parse())?;
    let token = Token::new("nothing-real-needs-this-token-00").ok_or("a token that is too short")?;
    Runtime::new()?.block_on(async {
        let address = ([127, 0, 0, 1], port).into();
        let console = Console::bind(address, Arc::new(lively::world()), token, env::temp_dir()).await?;
        let (_stop, stopped) = watch::channel(false);
        console.serve(stopped).await?;
        Ok(())
    })
}
