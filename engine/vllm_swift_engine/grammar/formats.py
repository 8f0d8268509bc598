"""The formats of JSON schema as regexes.

Each is within its standard, and where validators read the standard in different ways, within what
all of them accept: no leap seconds, no year 0, hosts of an e-mail address with a dot.
"""

from __future__ import annotations

from functools import lru_cache

from .language import Language, whole

_YEAR = r"(?:000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d\d\d)"
#: A year that 4 divides, and 400 where 100 does.
_LEAP = r"(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_DATE = (
    rf"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))"
    rf"|{_LEAP}-02-29)"
)
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
_NUMBER = r"\d{1,4}"
_CLOCK = rf"T(?:{_NUMBER}H(?:{_NUMBER}M(?:{_NUMBER}S)?)?|{_NUMBER}M(?:{_NUMBER}S)?|{_NUMBER}S)"
_DURATION = (
    rf"P(?:{_NUMBER}W|{_CLOCK}|(?:{_NUMBER}Y(?:{_NUMBER}M(?:{_NUMBER}D)?)?"
    rf"|{_NUMBER}M(?:{_NUMBER}D)?|{_NUMBER}D)(?:{_CLOCK})?)"
)
_LABEL = r"[A-Za-z\d](?:[A-Za-z\d-]{0,61}[A-Za-z\d])?"
#: Seven of them are no longer than a name may be, 253 characters.
_SHORT_LABEL = r"[A-Za-z\d](?:[A-Za-z\d-]{0,29}[A-Za-z\d])?"
_DOMAIN = rf"(?:{_LABEL}\.)+[A-Za-z]{{2,63}}"
_ATEXT = r"A-Za-z\d!#$%&'*+/=?^_`{|}~-"
_BYTE = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = rf"{_BYTE}(?:\.{_BYTE}){{3}}"
_GROUP = r"[\dA-Fa-f]{1,4}"
_IPV6 = "|".join(
    [
        rf"(?:{_GROUP}:){{7}}{_GROUP}",
        rf"(?:{_GROUP}:){{1,7}}:",
        *(rf"(?:{_GROUP}:){{1,{8 - n}}}(?::{_GROUP}){{1,{n - 1}}}" for n in range(2, 8)),
        rf":(?::{_GROUP}){{1,7}}",
        "::",
    ]
)
_UCS = r"\u00a0-\ud7ff\uf900-\ufdcf\ufdf0-\uffef"


def _uri(more: str, relative: bool) -> str:
    """RFC 3986, hosts by name or by number; with ``more`` characters, RFC 3987."""
    char = rf"(?:[\w.~!$&'()*+,;=:@{more}-]|%[\dA-Fa-f]{{2}})"
    first = rf"(?:[\w.~!$&'()*+,;=@{more}-]|%[\dA-Fa-f]{{2}})"
    user = rf"(?:[\w.~!$&'()*+,;=:{more}-]|%[\dA-Fa-f]{{2}})"
    host = rf"(?:[\w.~!$&'()*+,;={more}-]|%[\dA-Fa-f]{{2}})"
    path = rf"(?:/{char}*)*"
    authority = rf"//(?:{user}*@)?{host}+(?::\d{{1,4}})?{path}"
    absolute = rf"/(?:{char}+{path})?"
    tail = rf"(?:\?(?:{char}|[/?])*)?(?:#(?:{char}|[/?])*)?"
    full = rf"[A-Za-z][A-Za-z\d+.-]*:(?:{authority}|{absolute}|{char}+{path})"
    return (
        rf"(?:{full}|{authority}|{absolute}|(?:{first}+{path})?){tail}" if relative else full + tail
    )


_POINTER = r"(?:/(?:[^~/]|~[01])*)*"
_NAME = r"(?:\w|%[\dA-Fa-f]{2})+(?:\.(?:\w|%[\dA-Fa-f]{2})+)*(?:\*|:[1-9]\d{0,3})?"
_TEMPLATE = (
    r"(?:[\w.~!$&()*+,;=:@/?#\[\]-]|%[\dA-Fa-f]{2}"
    rf"|\{{[+#./;?&]?{_NAME}(?:,{_NAME})*\}})*"
)

_REGEXES = {
    "date-time": rf"{_DATE}[Tt]{_TIME}",
    "date": _DATE,
    "time": _TIME,
    "duration": _DURATION,
    "email": rf"[{_ATEXT}]+(?:\.[{_ATEXT}]+)*@{_DOMAIN}",
    "idn-email": rf"[{_UCS}{_ATEXT}]+(?:\.[{_UCS}{_ATEXT}]+)*@{_DOMAIN}",
    "hostname": rf"{_LABEL}(?:\.{_LABEL}){{0,2}}|{_SHORT_LABEL}(?:\.{_SHORT_LABEL}){{0,6}}",
    "ipv4": _IPV4,
    "ipv6": _IPV6,
    "uri": _uri("", relative=False),
    "uri-reference": _uri("", relative=True),
    "iri": _uri(_UCS, relative=False),
    "iri-reference": _uri(_UCS, relative=True),
    "uuid": r"[\dA-Fa-f]{8}(?:-[\dA-Fa-f]{4}){3}-[\dA-Fa-f]{12}",
    "uri-template": _TEMPLATE,
    "json-pointer": _POINTER,
    # jsonschema takes a zero inside of a number for one at its start.
    "relative-json-pointer": rf"(?:0|[1-9]{{1,8}}0?)(?:#|{_POINTER})",
}
#: Of draft 2020-12 too, and beyond a regular expression.
_REFUSED = ("regex", "idn-hostname")


@lru_cache(maxsize=32)
def format_language(name: str) -> Language | None:
    """The strings of a format; all of them where it is no format of the draft, as the draft has it.

    None is a format of the draft that has no grammar.
    """
    if name in _REFUSED:
        return None
    if name not in _REGEXES:
        return Language()
    return whole(_REGEXES[name])
