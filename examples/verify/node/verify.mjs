// Verify a JWT of the gateway with the standard library: node verify.mjs JWKS_URL ISSUER AUDIENCE < token
import { createPublicKey, verify as isSigned } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { argv, exit } from 'node:process';

const LEEWAY = 5; // seconds by which clocks may differ
const JWS = /^([\w-]+)\.([\w-]+)\.([\w-]+)$/;

// Fetch the key set. A service keeps it for five minutes, and fetches it again for an unknown kid, but at most
// every ten seconds.
async function fetchKeys(url) {
  const response = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(5000) });
  if (!response.ok) throw new Error(`the key set answers with status ${response.status}`);
  const { keys } = await response.json();
  const usable = keys.filter(
    (key) => key.kty === 'EC' && key.crv === 'P-256' && (key.alg ?? 'ES256') === 'ES256',
  );
  return new Map(usable.map((jwk) => [jwk.kid, createPublicKey({ key: jwk, format: 'jwk' })]));
}

const part = (text) => JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));

function verify(token, keys, issuer, audience) {
  const found = JWS.exec(token);
  if (!found) throw new Error('not a signed JWT');
  const [, head, payload, signature] = found;
  const { alg, kid, crit, typ = 'JWT' } = part(head);
  // The algorithm is the one that the service expects, whatever the JWT says.
  if (alg !== 'ES256' || crit !== undefined || typ !== 'JWT') {
    throw new Error('another algorithm, type or extension');
  }
  const key = keys.get(kid);
  if (!key) throw new Error('unknown key');
  const options = { key, dsaEncoding: 'ieee-p1363' };
  const raw = Buffer.from(signature, 'base64url');
  if (!isSigned('sha256', Buffer.from(`${head}.${payload}`), options, raw)) {
    throw new Error('wrong signature');
  }
  return check(part(payload), issuer, audience);
}

function check(claims, issuer, audience) {
  const now = Date.now() / 1000;
  const { exp, nbf = 0, iat = 0, realm, username } = claims;
  if (![exp, nbf, iat].every(Number.isFinite)) throw new Error('a time that is not a number');
  if (now >= exp + LEEWAY) throw new Error('expired');
  if (now + LEEWAY < Math.max(nbf, iat)) throw new Error('not valid yet');
  if (claims.iss !== issuer) throw new Error('another issuer');
  if (![claims.aud].flat().includes(audience)) throw new Error('another audience');
  if ('cnf' in claims || 'restrictions' in claims) throw new Error('a condition that is not checked');
  if (!realm || !username) throw new Error('no user');
  return claims;
}

try {
  const [url, issuer, audience] = argv.slice(2);
  const token = readFileSync(0, 'utf8').trim();
  const { realm, username, roles = [] } = verify(token, await fetchKeys(url), issuer, audience);
  console.log(realm, username, roles.join(','));
} catch (error) {
  console.error(error.message);
  exit(1);
}
