//! Verify a JWT of the gateway with jsonwebtoken: cargo run -- JWKS_URL ISSUER AUDIENCE < token

use std::collections::HashMap;
use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{decode, decode_header, Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::Value;

const LEEWAY: u64 = 5; // seconds by which clocks may differ

#[derive(Deserialize)]
struct Claims {
    realm: String,
    username: String,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(flatten)]
    others: HashMap<String, Value>,
}

type Failure = Box<dyn std::error::Error>;

/// Fetch the key set. A service keeps it for five minutes, and fetches it again for an unknown kid, but at most
/// every ten seconds.
fn keys(url: &str) -> Result<JwkSet, Failure> {
    let agent = ureq::AgentBuilder::new().timeout(Duration::from_secs(5)).redirects(0).build();
    Ok(serde_json::from_reader(agent.get(url).call()?.into_reader().take(1 << 20))?)
}

fn verify(token: &str, keys: &JwkSet, issuer: &str, audience: &str) -> Result<Claims, Failure> {
    let kid = decode_header(token)?.kid.ok_or("no kid")?;
    let key = DecodingKey::from_jwk(keys.find(&kid).ok_or("unknown key")?)?;
    // The algorithm is the one that the service expects, whatever the JWT says.
    let mut expected = Validation::new(Algorithm::ES256);
    expected.set_issuer(&[issuer]);
    expected.set_audience(&[audience]);
    expected.set_required_spec_claims(&["exp", "iss", "aud"]);
    expected.validate_nbf = true;
    expected.leeway = LEEWAY;
    let claims = decode::<Claims>(token, &key, &expected)?.claims;
    if claims.others.contains_key("cnf") || claims.others.contains_key("restrictions") {
        return Err("a condition that is not checked".into());
    }
    Ok(claims)
}

fn run() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, issuer, audience] = arguments.as_slice() else {
        return Err("JWKS_URL ISSUER AUDIENCE".into());
    };
    let mut token = String::new();
    std::io::stdin().read_to_string(&mut token)?;
    let claims = verify(token.trim(), &keys(url)?, issuer, audience)?;
    println!("{} {} {}", claims.realm, claims.username, claims.roles.join(","));
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
