//! Runs a broker until it is killed: `cargo run -p embedded-broker --example serve -- DIR [PORT]`.
//! Its first line of output is the bootstrap address.

use embedded_broker::{Broker, Config};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("usage: serve DIR [PORT]")?;
    let mut config = Config::new(dir);
    if let Some(port) = arguments.next() {
        config.port = port.parse()?;
    }
    let broker = Broker::start(config)?;
    #[expect(clippy::print_stdout, reason = "the program's one line of output")]
    {
        println!("{}", broker.bootstrap());
    }
    loop {
        std::thread::park();
    }
}
