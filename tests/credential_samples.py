"""Credentials by format: one list for the policy pack's detector and for that of `keystone check secrets`.

They are put together when a test runs, so that no file of the repository holds what looks like a credential.
"""

import base64

LETTERS = "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xYzAcEgIkMoQsUwY13579bDfHjLnPrTvXz" * 3
_HASH = "0123456789abcdef"
SAMPLES: tuple[tuple[str, str], ...] = (
    ("AWS access key", "AKIA" + "Q3EGRIQ2VABCDEFG"),
    ("AWS secret key", "aws_secret_access_key = " + LETTERS[:40]),
    ("AWS secret key", "AWS_SECRET_ACCESS_KEY=" + LETTERS[3:43]),
    ("AWS secret key", "secretAccessKey: '" + LETTERS[5:45] + "'"),
    ("Cloudflare token", "cfut" + "_" + LETTERS[:48]),
    ("Cloudflare origin CA key", "v1.0-" + "0123456789abcdef01234567" + "-" + (_HASH * 10)[:146]),
    (
        "Cloudflare tunnel token",
        base64.b64encode(b'{"a":"%s","t":"b","s":"%s"}' % (b"0f" * 16, b"c" * 44)).decode(),
    ),
    ("Cloudflare key", 'CLOUDFLARE_API_TOKEN: "' + LETTERS[:40] + '"'),
    ("Cloudflare key", "CF_API_TOKEN=" + LETTERS[1:41]),
    ("Cloudflare key", "cloudflare_api_token: " + LETTERS[2:42]),
    ("Headscale key", "hskey-" + "auth-" + LETTERS[:12] + "-" + LETTERS[:64]),
    ("Headscale private key", "privkey" + ":" + _HASH * 4),
    ("Tailscale key", "tskey-" + "auth-" + LETTERS[:16] + "-" + LETTERS[:32]),
    ("age key", "AGE-SECRET-" + "KEY-1" + ("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L" * 2)[:58]),
    ("k3s token", "K10" + _HASH * 4 + "::server:" + _HASH * 2),
    ("k3s token", "K10" + _HASH * 4 + "::abcdef." + _HASH),
    ("GitHub token", "ghp" + "_" + LETTERS[:36]),
    ("GitHub token", "github_pat" + "_" + LETTERS[:22] + "_" + LETTERS[:59]),
    ("private key", "-----BEGIN " + "EC PRIVATE KEY-----\n" + LETTERS[:64] + "\n-----END EC PRIVATE KEY-----"),
)
