//! Makes cargo read `migrations/` again when a file there appears, since the migrations are embedded.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
