//! Compiles `proto/` without protoc: the generated code and the descriptor set for reflection.

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const ROOT: &str = "../../proto";
    const FILES: [&str; 5] = [
        "unefois/exchange/v1/exchange.proto",
        "unefois/backoffice/v1/backoffice.proto",
        "unefois/revocation/v1/revocation.proto",
        "unefois/directory/v1/directory.proto",
        "unefois/ledger/v1/ledger.proto",
    ];
    let descriptors = protox::compile(FILES, [ROOT])?;
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed={ROOT}");
    Ok(())
}
