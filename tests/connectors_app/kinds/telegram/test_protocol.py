"""The local Bot API server is what python-telegram-bot takes Telegram to be."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import telegram
from telegram import InlineKeyboardButton, InlineKeyboardMarkup, ReplyParameters
from telegram.error import BadRequest, Conflict, Forbidden, InvalidToken, RetryAfter

from tests.connectors_app.kinds.telegram.rows import text_update
from tests.support.telegram_server import TOKEN, TelegramServer, refusal


def drive(
    server: TelegramServer, work: Callable[[telegram.Bot], Awaitable[None]], token: str = TOKEN
) -> None:
    async def run() -> None:
        bot = telegram.Bot(token, base_url=f"{server.url}/bot", base_file_url=f"{server.url}/file/bot")
        async with bot:
            await work(bot)

    asyncio.run(run())


def test_texts_buttons_and_replies(server: TelegramServer) -> None:
    async def work(bot: telegram.Bot) -> None:
        assert bot.username == "kheish_bot"
        sent = await bot.send_message(
            100,
            "hi",
            reply_parameters=ReplyParameters(7, allow_sending_without_reply=True),
            reply_markup=InlineKeyboardMarkup([[InlineKeyboardButton("Allow", callback_data="kh1:x")]]),
        )
        assert sent.text == "hi"
        assert sent.reply_markup is not None
        assert sent.reply_markup.inline_keyboard[0][0].callback_data == "kh1:x"
        assert await bot.answer_callback_query("q", text="done", show_alert=True)
        assert await bot.edit_message_reply_markup(100, sent.message_id)

    drive(server, work)
    assert server.named("sendMessage")[0].parameters["reply_parameters"]["message_id"] == 7


def test_files_both_ways(server: TelegramServer) -> None:
    server.files["abc"] = b"bytes"

    async def work(bot: telegram.Bot) -> None:
        await bot.send_photo(100, b"\xff\xd8jpeg", filename="a.jpg")
        await bot.send_document(100, b"text", filename="a.txt")
        await bot.send_audio(100, b"ID3", filename="a.mp3")
        file = await bot.get_file("abc")
        assert bytes(await file.download_as_bytearray()) == b"bytes"

    drive(server, work)
    assert server.named("sendDocument")[0].files["document"][2] == b"text"


def test_updates_are_confirmed_by_the_next_offset(server: TelegramServer) -> None:
    server.arrive(text_update(5, "one"), text_update(6, "two"))

    async def work(bot: telegram.Bot) -> None:
        assert [update.update_id for update in await bot.get_updates()] == [5, 6]
        assert [update.update_id for update in await bot.get_updates(offset=6)] == [6]
        assert await bot.get_updates(offset=7, timeout=0) == ()

    drive(server, work)
    assert server.pending == []


def test_refusals(server: TelegramServer) -> None:
    server.queue("sendMessage", refusal(429, "Too Many Requests: retry after 9", retry_after=9))
    server.queue("sendMessage", refusal(403, "Forbidden: bot was blocked by the user"))
    server.queue("getUpdates", refusal(409, "Conflict: terminated by other getUpdates request"))

    async def work(bot: telegram.Bot) -> None:
        with pytest.raises(RetryAfter):
            await bot.send_message(100, "hi")
        with pytest.raises(Forbidden):
            await bot.send_message(100, "hi")
        with pytest.raises(BadRequest, match=r"[Cc]hat not found"):
            await bot.send_message(5, "hi")
        with pytest.raises(BadRequest, match="too long"):
            await bot.send_message(100, "x" * 4097)
        with pytest.raises(Conflict):
            await bot.get_updates()

    drive(server, work)


def test_a_wrong_token(server: TelegramServer) -> None:
    async def work(bot: telegram.Bot) -> None:
        raise AssertionError("the bot started")

    with pytest.raises(InvalidToken):
        drive(server, work, token="1:wrong")
