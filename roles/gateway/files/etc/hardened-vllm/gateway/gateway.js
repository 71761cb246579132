import crypto from 'crypto';

// A token of the characters RFC 6750 allows. nginx joins repeated headers with a comma, which is none of them.
const TOKEN = /^[A-Za-z0-9._~+\/-]{16,512}={0,2}$/;
const BEARER = /^[Bb][Ee][Aa][Rr][Ee][Rr] (.+)$/;

// One Authorization header with the scheme Bearer, or where the route takes it the header x-api-key. Not both.
function token(r) {
    const authorization = r.variables.http_authorization || '';
    const header = r.variables.gateway_header_key || '';
    if (authorization && header) {
        return '';
    }
    const found = BEARER.exec(authorization);
    return found ? found[1] : header;
}

function digest(r) {
    const shown = token(r);
    return TOKEN.test(shown) ? crypto.createHash('sha256').update(shown).digest('hex') : '';
}

// Whether the end of the key's life has come.
function past(r) {
    return Date.now() < Number(r.variables.gateway_key_expires) * 1000 ? '' : '1';
}

export default { digest, past };
