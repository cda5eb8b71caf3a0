"""Exercises an S3 endpoint with obstore, the store client of the Flyte SDK. Arguments: endpoint URL, access key, secret key."""

import asyncio
import hashlib
import os
import sys
from datetime import timedelta

import obstore
from obstore.store import S3Store

endpoint, access_key, secret_key = sys.argv[1:4]
settings = dict(endpoint=endpoint, access_key_id=access_key, secret_access_key=secret_key, region="us-east-1")
store = S3Store("obstore", client_options={"allow_http": True}, virtual_hosted_style_request=False, **settings)
MIB = 1024 * 1024


def keys(prefix, **options):
    return [meta["path"] for batch in obstore.list(store, prefix, **options) for meta in batch]


def small_objects():
    put = obstore.put(store, "small/héllo +%41.txt", b"hello", attributes={"Content-Type": "text/html", "content_type": "x"})
    assert put["e_tag"] == '"%s"' % hashlib.md5(b"hello").hexdigest(), put
    head = obstore.head(store, "small/héllo +%41.txt")
    assert head["size"] == 5 and head["e_tag"] == put["e_tag"], head
    got = obstore.get(store, "small/héllo +%41.txt")
    assert got.attributes["Content-Type"] == "text/html", got.attributes
    assert bytes(got.bytes()) == b"hello"
    assert bytes(obstore.get_range(store, "small/héllo +%41.txt", start=1, end=3)) == b"el"
    obstore.put(store, "small/empty", b"")
    assert obstore.head(store, "small/empty")["size"] == 0
    assert bytes(obstore.get(store, "small/empty").bytes()) == b""
    for absent in (lambda: obstore.head(store, "small/absent"), lambda: obstore.get(store, "small/absent")):
        try:
            absent()
        except FileNotFoundError:
            continue
        raise AssertionError("an absent object was found")


def conditions():
    obstore.put(store, "conditions/a", b"1", mode="create")
    try:
        obstore.put(store, "conditions/a", b"2", mode="create")
        raise AssertionError("created twice")
    except obstore.exceptions.AlreadyExistsError:
        pass
    etag = obstore.head(store, "conditions/a")["e_tag"]
    obstore.put(store, "conditions/a", b"3", mode={"e_tag": etag})
    try:
        obstore.put(store, "conditions/a", b"4", mode={"e_tag": etag})
        raise AssertionError("a stale etag was accepted")
    except obstore.exceptions.PreconditionError:
        pass


async def large_objects():
    content = os.urandom(63 * MIB + 12345)
    await obstore.put_async(store, "large/parts", content, use_multipart=True, chunk_size=5 * MIB, max_concurrency=12)
    ranges = [(at, min(at + 16 * MIB, len(content))) for at in range(0, len(content), 16 * MIB)]
    pieces = await asyncio.gather(
        *(obstore.get_range_async(store, "large/parts", start=start, end=end) for start, end in ranges)
    )
    assert b"".join(bytes(piece) for piece in pieces) == content
    streamed = hashlib.md5()
    async for chunk in (await obstore.get_async(store, "large/parts")).stream(min_chunk_size=MIB):
        streamed.update(chunk)
    assert streamed.digest() == hashlib.md5(content).digest()
    async with obstore.open_writer_async(store, "large/written", buffer_size=10 * MIB) as writer:
        for at in range(0, len(content), MIB):
            await writer.write(content[at : at + MIB])
    reader = await obstore.open_reader_async(store, "large/written")
    assert reader.size == len(content)
    reader.seek(len(content) - 5)
    assert bytes(await reader.read()) == content[-5:]
    ends = obstore.get_ranges(store, "large/written", starts=[0, 10 * MIB, len(content) - 3], lengths=[3, 4, 3])
    assert [bytes(end) for end in ends] == [content[:3], content[10 * MIB : 10 * MIB + 4], content[-3:]]


def listing():
    for index in range(1100):
        obstore.put(store, f"many/{index % 3}/{index:04}", b"x")
    assert keys("many") == sorted(keys("many")) and len(keys("many")) == 1100
    assert len(keys("many", offset="many/1/0500")) == len([key for key in keys("many") if key > "many/1/0500"])
    level = obstore.list_with_delimiter(store, "many")
    assert level["common_prefixes"] == ["many/0", "many/1", "many/2"] and level["objects"] == [], level
    assert keys("man") == [] and keys("absent") == []


def copies_and_deletions():
    obstore.copy(store, "small/héllo +%41.txt", "copies/été.txt")
    assert bytes(obstore.get(store, "copies/été.txt").bytes()) == b"hello"
    obstore.rename(store, "copies/été.txt", "copies/b")
    assert keys("copies") == ["copies/b"]
    obstore.delete(store, "copies/b")
    obstore.delete(store, "copies/b")
    obstore.delete(store, keys("many"))
    assert keys("many") == []


def signed_urls():
    import urllib.request

    url = obstore.sign(store, "PUT", "signed/a b", timedelta(minutes=1))
    urllib.request.urlopen(urllib.request.Request(url, b"signed", {"Content-Type": ""}, method="PUT"))
    assert urllib.request.urlopen(obstore.sign(store, "GET", "signed/a b", timedelta(minutes=1))).read() == b"signed"


def strangers():
    stranger = S3Store("obstore", client_options={"allow_http": True}, **{**settings, "secret_access_key": "wrong"})
    try:
        obstore.get(stranger, "small/empty")
        raise AssertionError("a wrong secret was accepted")
    except obstore.exceptions.PermissionDeniedError:
        pass


small_objects()
conditions()
asyncio.run(large_objects())
listing()
copies_and_deletions()
signed_urls()
strangers()
print("ok")
