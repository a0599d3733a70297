"""A video on its way to being published: three tasks side by side, and one of them may be left out.

The stages of the definition let transcoding, thumbnails and captions start together; here each waits for the
others to have started, so the story could not go on if they ran one after the other. Captions are optional.
When transcoding refuses the file for good, everything that was made for it is taken away again, side by side.

    python examples/content_processing.py
"""

import asyncio

from sagacity_engine import (
    Call,
    Engine,
    FailureClass,
    MemoryJournal,
    OnFailure,
    RetryPolicy,
    StepError,
    Strategy,
    TerminalError,
    define,
)

video = define(
    "video",
    stages=[["upload"], ["transcode", "thumbnails", "captions"], ["publish"], ["tell_subscribers"]],
)
TOGETHER = {name: asyncio.Barrier(3) for name in ("holiday.mp4", "talk.mp4", "broken.mp4")}
"""Where the three tasks of a video meet."""

once = RetryPolicy(maximum_attempts=1)
side_by_side = OnFailure.all(Strategy.RETRY_WITH_COMPENSATION)


@video.step(service="storage", idempotent=True)
async def upload(call: Call) -> dict[str, str]:
    """The original; everything else is made from it."""
    print(f"  upload: {call.input['file']}")
    return {"url": f"store/{call.input['file']}"}


@upload.compensation()
async def delete_original(call: Call) -> None:
    """Comes last: what was made from the original goes first."""
    print(f"  upload: {call.output['url']} is deleted")


@video.step(after=[upload], service="media", retry=once, on_failure=side_by_side)
async def transcode(call: Call) -> list[str]:
    """Refuses a file that no attempt could ever read: nothing is tried again after a TerminalError."""
    await TOGETHER[call.input["file"]].wait()
    if call.input["file"] == "broken.mp4":
        print("  transcode: cannot be read")
        raise TerminalError("UnreadableFile", "no video stream", FailureClass.PERMANENT)
    return ["1080p", "480p"]


@transcode.compensation()
async def delete_renditions(call: Call) -> None:
    """Deletes what there is."""


@video.step(after=[upload], service="media", idempotent=True)
async def thumbnails(call: Call) -> int:
    """Three pictures."""
    await TOGETHER[call.input["file"]].wait()
    return 3


@thumbnails.compensation()
async def delete_thumbnails(call: Call) -> None:
    """Deletes what there is."""
    print(f"  thumbnails: {call.output} are deleted")


@video.step(after=[upload], service="speech", kind="read_only", optional=True, skip_loss=2.0, retry=once)
async def captions(call: Call) -> str:
    """Costs two to go without, and stops nobody."""
    await TOGETHER[call.input["file"]].wait()
    if call.input["file"] == "talk.mp4":
        raise StepError("TooNoisy", "nobody can be understood", FailureClass.PERMANENT)
    return "en"


@video.step(kind="pivot", after=[transcode, thumbnails, captions], idempotent=True)
async def publish(call: Call) -> None:
    """Once people have seen it, it is out."""
    made = call.outputs
    spoken = made.get("captions") or "none"
    print(f"  published: {'+'.join(made['transcode'])}, {made['thumbnails']} thumbnails, captions: {spoken}")


@video.step(kind="retriable", after=[publish], retry=RetryPolicy(initial_interval_s=0.05, maximum_attempts=5))
async def tell_subscribers(call: Call) -> None:
    """After the pivot there is only forward: it is tried until it works, or a person must look."""
    if call.attempt < 3:
        raise StepError("MailServerBusy", "try later", FailureClass.TRANSIENT)
    print(f"  subscribers: told at attempt {call.attempt}")


async def main() -> None:
    """A good file, one that nobody can caption, and one that nobody can read."""
    async with Engine(MemoryJournal(), [video.bind()]) as engine:
        for file in TOGETHER:
            print(file)
            result = await engine.run("video", {"file": file}, run_id=file)
            print(f"  => {result.status}{f', because {result.reason}' if result.reason else ''}")


if __name__ == "__main__":
    asyncio.run(main())
