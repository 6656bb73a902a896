"""Compression that goes on in another process."""

from __future__ import annotations

import zlib

import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from interface_server.wire.compression import RememberingDecoder, extension_from, extension_state, remember

WORDS = b"a message that says the same words again and again, so that the window counts; "


@pytest.mark.parametrize("bits", [9, 12, 15])
@pytest.mark.parametrize("anew", [False, True])
def test_messages_of_a_client_are_read_on_in_another_process(bits: int, anew: bool) -> None:
    client = PerMessageDeflate(False, anew, 12, bits)
    server = PerMessageDeflate(anew, False, bits, 12)
    remember(server)
    for number in range(12):
        said = b"%d " % number + WORDS * (1 + 200 * (number % 3))
        frame = client.encode(Frame(Opcode.TEXT, said))
        assert server.decode(frame).data == said
        server = extension_from(extension_state(server))


def test_a_client_that_remembers_reads_a_server_that_begins_anew() -> None:
    client, server = PerMessageDeflate(False, False, 12, 12), PerMessageDeflate(False, False, 12, 12)
    remember(server)
    for number in range(6):
        said = b"%d " % number + WORDS * 20
        assert client.decode(server.encode(Frame(Opcode.TEXT, said))).data == said
        server = extension_from(extension_state(server))


def test_without_the_window_a_message_could_not_be_read() -> None:
    client, server = PerMessageDeflate(False, False, 12, 12), PerMessageDeflate(False, False, 12, 12)
    remember(server)
    server.decode(client.encode(Frame(Opcode.TEXT, WORDS)))
    *negotiated, window = extension_state(server)
    assert window == WORDS
    second = client.encode(Frame(Opcode.TEXT, WORDS))
    with pytest.raises(Exception, match="decompression failed"):
        extension_from([*negotiated, b""]).decode(second)
    assert extension_from([*negotiated, window]).decode(second).data == WORDS


def test_no_more_than_the_window_is_remembered() -> None:
    decoder, packer = RememberingDecoder(9), zlib.compressobj(wbits=-9)
    for _ in range(3):
        decoder.decompress(packer.compress(WORDS * 10) + packer.flush(zlib.Z_SYNC_FLUSH))
        assert decoder.window == (WORDS * 30)[-512:]
