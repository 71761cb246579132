import crypto from 'crypto';

// One Authorization header, scheme Bearer, a token of the characters RFC 6750 allows. nginx joins repeated headers with
// a comma, which is none of them.
const BEARER = /^[Bb][Ee][Aa][Rr][Ee][Rr] ([A-Za-z0-9._~+\/-]{16,512}={0,2})$/;

function digest(r) {
    const found = BEARER.exec(r.variables.http_authorization || '');
    return found ? crypto.createHash('sha256').update(found[1]).digest('hex') : '';
}

export default { digest };
