//! The `kolumn` binary.
use std::sync::Arc;
#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let url = url::Url::from_directory_path(std::path::absolute(&args[0]).unwrap()).unwrap();
    let a = kolumn::table::Archive::open_or_create(&url).await.unwrap();
    let l = args[1..]
        .iter()
        .map(|s| kolumn::source::list::list(s, None).unwrap())
        .collect();
    let t = std::time::Instant::now();
    match kolumn::pipeline::ingest(
        a,
        l,
        Default::default(),
        Arc::new(kolumn::pipeline::Unobserved),
    )
    .await
    {
        Ok(mut r) => {
            r.objects.truncate(4);
            eprintln!("{r:#?}");
        }
        Err(e) => eprintln!("ERR {}", e.to_chain()),
    }
    eprintln!("{:?}", t.elapsed());
}
