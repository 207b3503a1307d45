//! Writes `topics/<topic>/schema.json` from the message types: `cargo run -p schemas --example write_schemas`.
//!
//! The contract test fails until the written files are reviewed and committed.

use std::{fs, io, path::Path};

use schemas::{Message, MessageVisitor};

struct WriteSchemas(io::Result<()>);

impl MessageVisitor for WriteSchemas {
    fn message<M: Message>(&mut self) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("topics").join(M::TOPIC.name);
        if self.0.is_ok() {
            self.0 = fs::create_dir_all(&folder)
                .and_then(|()| fs::write(folder.join("schema.json"), schemas::json_schema::<M>()));
        }
    }
}

fn main() -> io::Result<()> {
    let mut write = WriteSchemas(Ok(()));
    schemas::visit(&mut write);
    write.0
}
