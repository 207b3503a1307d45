//! Serves the page of a report for every example of the contract, to be looked at without a running system:
//! `cargo run -p console@0.1.0 --example report_pages`, then `http://127.0.0.1:8090/studies`.

mod site;

use std::{env, error::Error, sync::Arc};

use console::{Console, Token};
use tokio::{runtime::Runtime, sync::watch};

fn main() -> Result<(), Box<dyn Error>> {
    let token = Token::new("nothing-here-needs-this-token-00").ok_or("a token that is too short")?;
    Runtime::new()?.block_on(async {
        let address = ([127, 0, 0, 1], 8090).into();
        let console = Console::bind(address, Arc::new(site::Examples), token, env::temp_dir()).await?;
        let (_stop, stopped) = watch::channel(false);
        console.serve(stopped).await?;
        Ok(())
    })
}
