"""Modules that Python and our libraries import only where they are first used.

They are imported at the start, since later the process may not find them: `twistd --uid` and `--chroot`
may have taken away the right to read them, or a new release may be installed over this one.
"""

# ruff: noqa: F401

# The content types and forms that Twisted reads, and the codecs of host names, fields and JSON.
import email.parser
import email.policy
import encodings.ascii
import encodings.idna
import encodings.iso8859_1
import encodings.latin_1
import encodings.punycode
import encodings.unicode_escape
import encodings.utf_8_sig
import encodings.utf_16
import encodings.utf_16_be
import encodings.utf_16_le
import encodings.utf_32
import encodings.utf_32_be
import encodings.utf_32_le

# The host name of a TLS server that Twisted connects to, and the line of an error in a template.
import idna
import jinja2.debug
