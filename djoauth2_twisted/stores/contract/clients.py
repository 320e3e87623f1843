"""The contract of `IClients`."""

from __future__ import annotations

import itertools

import attrs

from ...errors import AlreadyExists, ChangedMeanwhile, NotFound
from ...interfaces import IRegistry
from ...models import Image, Page
from ...paging import by_name
from .samples import HOSTILE, NOT_UTF_8, NOW, new_client, random_digest
from .steps import assert_fails


class ClientsContract:
    """What a registry promises as `IClients`."""

    async def test_client_is_found_unchanged(self, registry: IRegistry) -> None:
        """Also where optional fields are empty or very long."""
        for client in (
            new_client(),
            new_client(scopes=None),
            new_client(scopes=()),
            new_client(resource_server=True, redirect_uris=(), description="", image_url=""),
            new_client(disabled=True),
            new_client(homepage_url="", privacy_url="", developer=""),
            new_client(secret_digest=bytes(range(32))),
            new_client(secret_digest=bytes(32)),
            new_client(description="x" * 10_000, image_url="https://app.example/" + "y" * 3000),
            new_client(redirect_uris=("https://app.example/" + "z" * 3000,)),
        ):
            await registry.add_client(client)
            assert await registry.find_client(client.client_id) == client

    async def test_client_id_that_is_taken_is_refused(self, registry: IRegistry) -> None:
        """The first client keeps the id."""
        client = new_client()
        await registry.add_client(client)
        await assert_fails(AlreadyExists, registry.add_client(attrs.evolve(client, name="other")))
        assert await registry.find_client(client.client_id) == client

    async def test_last_use_is_noted(self, registry: IRegistry) -> None:
        """The latest time is kept, and no other change of the client touches it."""
        client, other = new_client(), new_client()
        await registry.add_client(client)
        await registry.add_client(other)
        for time, kept in ((NOW, NOW), (NOW + 9, NOW + 9), (NOW, NOW + 9)):
            await registry.note_uses({client.client_id: time, "unknown": time})
            found = await registry.find_client(client.client_id)
            assert found is not None
            assert found.last_used == kept
        await registry.update_client(attrs.evolve(client, name="new"))
        await registry.set_image(client.client_id, Image("image/png", b"x"))
        clients = {each.client_id: each for each in await registry.clients(Page())}
        assert clients[client.client_id].last_used == NOW + 9
        assert clients[client.client_id].name == "new"
        assert clients[other.client_id].last_used is None
        await registry.note_uses({})

    async def test_unknown_client_is_not_found(self, registry: IRegistry) -> None:
        """It can be neither updated nor deleted."""
        known = new_client(client_id="client")
        await registry.add_client(known)
        for client_id in ("", "Client", "client ", "clien", "%", "_" * 6, NOT_UTF_8):
            assert await registry.find_client(client_id) is None
            await assert_fails(NotFound, registry.update_client(new_client(client_id=client_id)))
            await assert_fails(NotFound, registry.delete_client(client_id))
        assert await registry.clients(Page()) == [known]

    async def test_client_is_updated(self, registry: IRegistry) -> None:
        """Every field but the id can change. Other clients stay as they are."""
        client, other = new_client(), new_client()
        await registry.add_client(client)
        await registry.add_client(other)
        for changes in (
            {"name": "new", "description": "new", "image_url": ""},
            {"homepage_url": "https://other.example/", "privacy_url": "", "developer": "Other"},
            {"secret_digest": random_digest()},
            {"redirect_uris": ("https://other.example/",)},
            {"scopes": None},
            {"scopes": ()},
            {"scopes": ("read",)},
            {"resource_server": True, "disabled": True},
            {"previous_secret_digest": random_digest(), "previous_secret_expires": NOW},
            {"previous_secret_digest": None, "previous_secret_expires": None},
            {},
        ):
            client = attrs.evolve(client, **changes)
            await registry.update_client(client)
            assert await registry.find_client(client.client_id) == client
            assert await registry.find_client(other.client_id) == other

    async def test_of_two_new_secrets_at_once_the_second_is_refused(self, registry: IRegistry) -> None:
        """The first new secret is not lost."""
        client = new_client()
        await registry.add_client(client)
        old = client.secret_digest
        first = attrs.evolve(client, secret_digest=random_digest())
        second = attrs.evolve(client, secret_digest=random_digest(), name="new")
        await registry.update_client(first, {"secret_digest"}, instead_of=old)
        await assert_fails(ChangedMeanwhile, registry.update_client(second, instead_of=old))
        assert await registry.find_client(client.client_id) == first
        await registry.update_client(second, instead_of=first.secret_digest)
        assert await registry.find_client(client.client_id) == second
        await assert_fails(NotFound, registry.update_client(new_client(), instead_of=old))

    async def test_only_the_named_fields_of_a_client_are_updated(self, registry: IRegistry) -> None:
        """The others keep what another process has written."""
        read = new_client()
        await registry.add_client(read)
        rotated = attrs.evolve(read, secret_digest=random_digest(), scopes=("read",))
        await registry.update_client(rotated, {"secret_digest", "scopes"})
        await registry.update_client(attrs.evolve(read, name="new"), ["name"])
        assert await registry.find_client(read.client_id) == attrs.evolve(rotated, name="new")
        await assert_fails(NotFound, registry.update_client(new_client(), {"name"}))

    async def test_client_is_deleted_once(self, registry: IRegistry) -> None:
        """Its id is free again."""
        client, other = new_client(), new_client()
        await registry.add_client(client)
        await registry.add_client(other)
        await registry.delete_client(client.client_id)
        assert await registry.find_client(client.client_id) is None
        await assert_fails(NotFound, registry.delete_client(client.client_id))
        assert await registry.clients(Page()) == [other]
        await registry.add_client(client)

    async def test_image_and_its_digest_change_together(self, registry: IRegistry) -> None:
        """Both are deleted with the client."""
        client, other = new_client(), new_client()
        await registry.add_client(client)
        await registry.add_client(other)
        assert await registry.find_image(client.client_id) is None
        for image in (
            Image("image/png", bytes(range(256)) * 64),
            Image("image/gif", b"\0"),
            None,
            Image("image/webp", b"'; --"),
        ):
            await registry.set_image(client.client_id, image)
            kept = await registry.find_client(client.client_id)
            assert await registry.find_image(client.client_id) == image
            assert kept == attrs.evolve(client, image_digest=None if image is None else image.digest)
        # An update by a caller that has read the client before does not change the image.
        await registry.update_client(attrs.evolve(client, name="new"))
        changed = await registry.find_client(client.client_id)
        assert kept is not None
        assert changed == attrs.evolve(kept, name="new")
        assert await registry.find_client(other.client_id) == other
        assert await registry.find_image(other.client_id) is None
        await registry.delete_client(client.client_id)
        assert await registry.find_image(client.client_id) is None
        await registry.add_client(client)
        assert await registry.find_image(client.client_id) is None

    async def test_client_is_added_with_its_image(self, registry: IRegistry) -> None:
        """Both are kept, or none."""
        client, image = new_client(), Image("image/png", b"x")
        await registry.add_client(client, image)
        kept = await registry.find_client(client.client_id)
        assert kept == attrs.evolve(client, image_digest=image.digest)
        await assert_fails(AlreadyExists, registry.add_client(client, Image("image/gif", b"y")))
        assert await registry.find_image(client.client_id) == image

    async def test_image_of_an_unknown_client_is_refused(self, registry: IRegistry) -> None:
        """Nothing is kept."""
        for client_id in ("", "client", "%", NOT_UTF_8):
            assert await registry.find_image(client_id) is None
            await assert_fails(NotFound, registry.set_image(client_id, Image("image/png", b"x")))
            await assert_fails(NotFound, registry.set_image(client_id, None))
            assert await registry.find_image(client_id) is None

    async def test_pages_of_clients_are_sorted_by_name(self, registry: IRegistry) -> None:
        """Equal names have an order, too."""
        for name in ("d", "a", "c", "b", "same", "same", "same"):
            await registry.add_client(new_client(name=name))
        whole = await registry.clients(Page())
        assert [client.name for client in whole] == ["a", "b", "c", "d", "same", "same", "same"]
        for size in (1, 2, 3, 7):
            pages = [await registry.clients(Page(offset, size)) for offset in range(0, 7, size)]
            assert list(itertools.chain(*pages)) == whole
        assert await registry.clients(Page(7, 10)) == []

    async def test_page_of_clients_begins_after_a_key(self, registry: IRegistry) -> None:
        """Whether or not the client of the key is still there, also in a search."""
        for name in (*HOSTILE, "name", "name"):
            await registry.add_client(new_client(name=name))
        for search in ("", "n"):
            whole = await registry.clients(Page(), search)
            assert whole == sorted(whole, key=by_name)
            for number, client in enumerate(whole):
                following = await registry.clients(Page(0, 3, by_name(client)), search)
                assert following == whole[number + 1 :][:3]
        gone = whole.pop(2)
        await registry.delete_client(gone.client_id)
        assert await registry.clients(Page(after=by_name(gone)), "n") == whole[2:]
        assert await registry.clients(Page(1, 1, by_name(gone)), "n") == whole[3:4]
        await registry.clients(Page(after=(NOT_UTF_8, NOT_UTF_8)))

    async def test_clients_are_searched_by_name_and_id(self, registry: IRegistry) -> None:
        """In capitals or not, and by no other field."""
        for client_id, name in (("one", "The App"), ("two", "Other"), ("app-3", "Ünder_100%")):
            await registry.add_client(new_client(client_id=client_id, name=name))

        async def found(search: str, offset: int = 0, size: int = 100) -> list[str]:
            clients = await registry.clients(Page(offset, size), search)
            return [client.client_id for client in clients]

        assert await found("") == ["two", "one", "app-3"]
        assert await found("app") == await found("APP") == ["one", "app-3"]
        assert await found("app", 1, 1) == ["app-3"]
        assert await found("Ünder_100%") == await found("r_100%") == await found("%") == ["app-3"]
        assert await found("_") == ["app-3"]
        for nobody in ("appp", "r__", "%%", "/", "\\", "What it does", "a\0", NOT_UTF_8, "x" * 5000):
            assert await found(nobody) == []
