"""Clips that come back from disk as they went."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from b2m.errors import InputError
from b2m.media import video

SATURATED = [
    (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255),
    (200, 30, 120), (255, 255, 255), (0, 0, 0), (128, 128, 128),
]  # fmt: skip
WRITERS = [(video.write_mp4, "mp4"), (video.write_gif, "gif"), (video.write_webp, "webp")]


def moving_clip(count: int = 7, height: int = 48, width: int = 64) -> list[np.ndarray]:
    # Fine in brightness, soft in colour, as photos are: 4:2:0 keeps a quarter of the colours.
    noise = np.random.default_rng(0).random((height, width + 2 * count, 4))
    fine = ndimage.gaussian_filter(noise[..., :1], (2, 2, 0)) - 0.5
    soft = ndimage.gaussian_filter(noise[..., 1:], (9, 9, 0)) - 0.5
    mixed = 0.5 + 0.25 * fine / np.abs(fine).max() + 0.25 * soft / np.abs(soft).max()
    smooth = np.rint(mixed * 255).astype(np.uint8)
    return [smooth[:, 2 * i : 2 * i + width] for i in range(count)]


def decoded(path: Path) -> list[np.ndarray]:
    """By Pillow for pictures, by our reader for video."""
    if path.suffix == ".mp4":
        return list(video.read_video(path))
    frames = []
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            frames.append(np.asarray(image.convert("RGB")))
    return frames


@pytest.mark.parametrize(("write", "suffix"), WRITERS)
def test_a_generator_streams_in_and_frames_come_back(
    tmp_path: Path, write: Callable[..., None], suffix: str
) -> None:
    frames = moving_clip()
    path = tmp_path / f"clip.{suffix}"
    write(path, iter(frames), 12.5)
    back = decoded(path)
    assert len(back) == 7
    for before, after in zip(frames, back, strict=True):
        assert np.abs(before.astype(int) - after).mean() < 4
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(("write", "suffix"), WRITERS)
def test_colours_do_not_shift(tmp_path: Path, write: Callable[..., None], suffix: str) -> None:
    path = tmp_path / f"clip.{suffix}"
    frames = [np.full((32, 48, 3), color, np.uint8) for color in SATURATED]
    write(path, frames, 10)
    back = decoded(path)
    assert len(back) == len(frames)
    for color, frame in zip(SATURATED, back, strict=True):
        assert np.abs(frame.reshape(-1, 3).mean(0) - color).max() <= 3


def test_mp4_is_what_browsers_play(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    video.write_mp4(path, moving_clip(), 24)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)
        assert context.color_range == 1
        assert stream.average_rate == 24
        assert container.duration == pytest.approx(7 / 24 * 1e6, rel=0.01)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "index first"


@pytest.mark.parametrize("size", [(47, 63), (16, 17), (33, 16)])
def test_odd_sizes_are_padded_by_their_edge(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "clip.mp4"
    frames = moving_clip(3, *size)
    video.write_mp4(path, frames, 10)
    clip = video.read_video(path)
    assert (clip.height, clip.width) == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    for before, after in zip(frames, clip, strict=True):
        assert np.abs(before.astype(int) - after[: size[0], : size[1]]).mean() < 4


@pytest.mark.parametrize("fps", [10, 29.97, 7.5, 60, np.float32(24)])
def test_frame_rate(tmp_path: Path, fps: float) -> None:
    path = tmp_path / "clip.mp4"
    video.write_mp4(path, moving_clip(), fps)
    clip = video.read_video(path)
    assert clip.fps == pytest.approx(float(fps), rel=1e-3)
    assert clip.frames == 7
    assert len(list(clip)) == len(list(clip)) == 7


def test_gif_keeps_time_loops_and_does_not_shimmer(tmp_path: Path) -> None:
    path = tmp_path / "clip.gif"
    frames = [frame.copy() for frame in moving_clip(9)]
    for frame in frames:
        frame[:, :24] = frames[0][:, :24]
    video.write_gif(path, frames, 30)
    with Image.open(path) as image:
        assert image.info["loop"] == 0
        lasts = []
        for number in range(image.n_frames):
            image.seek(number)
            lasts.append(image.info["duration"])
    assert set(lasts) == {30, 40} and sum(lasts) == 300
    back = decoded(path)
    for frame in back[1:]:
        np.testing.assert_array_equal(frame[:, :24], back[0][:, :24])


def test_webp_keeps_time_and_loops(tmp_path: Path) -> None:
    path = tmp_path / "clip.webp"
    video.write_webp(path, moving_clip(), 12.5)
    with Image.open(path) as image:
        assert (image.format, image.n_frames, image.info["loop"]) == ("WEBP", 7, 0)
        image.seek(2)
        image.load()
        assert image.info["duration"] == 80


def test_a_still_clip(tmp_path: Path) -> None:
    for write, suffix in WRITERS:
        path = tmp_path / f"still.{suffix}"
        write(path, [np.full((20, 20, 3), 77, np.uint8)] * 7, 10)
        assert np.abs(decoded(path)[0].astype(int) - 77).max() <= 2


def test_png_folder(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    frames = moving_clip()
    written = video.write_png_folder(folder, iter(frames))
    assert [path.name for path in written[:2]] == ["frame_0000.png", "frame_0001.png"]
    for path, frame in zip(written, frames, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), frame)
    # A shorter clip over a longer one leaves neither its frames nor touches other files.
    (folder / "notes.txt").write_text("mine")
    video.write_png_folder(folder, frames[:3])
    assert sorted(path.name for path in folder.iterdir()) == [
        "frame_0000.png", "frame_0001.png", "frame_0002.png", "notes.txt"
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


def failing() -> Iterator[np.ndarray]:
    yield from moving_clip(3)
    raise RuntimeError("renderer gave up")


@pytest.mark.parametrize(
    ("frames", "error", "says"),
    [
        (lambda: [], InputError, "no frames"),
        (lambda: [np.zeros((16, 16, 3))], InputError, "float64"),
        (lambda: [np.zeros((16, 16), np.uint8)], InputError, r"\(16, 16\)"),
        (lambda: [*moving_clip(2), np.zeros((16, 18, 3), np.uint8)], InputError, "18x16"),
        (failing, RuntimeError, "gave up"),
    ],
)
def test_bad_frames_leave_nothing_behind(
    tmp_path: Path, frames: Callable[[], list[np.ndarray]], error: type, says: str
) -> None:
    for write, suffix in WRITERS:
        with pytest.raises(error, match=says):
            write(tmp_path / f"clip.{suffix}", frames(), 10)
    with pytest.raises(error, match=says):
        video.write_png_folder(tmp_path / "frames", frames())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("matrix", [1, 5])
@pytest.mark.parametrize("full_range", [False, True])
def test_reading_honours_the_colour_tags(tmp_path: Path, matrix: int, full_range: bool) -> None:
    red_share, blue_share = (0.2126, 0.0722) if matrix == 1 else (0.299, 0.114)
    path = tmp_path / "clip.mp4"
    colors = np.array([(200, 60, 40), (30, 180, 90), (20, 60, 220)]) / 255
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "1"}
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 2 if full_range else 1
        for red, green, blue in colors:
            luma = red_share * red + (1 - red_share - blue_share) * green + blue_share * blue
            chroma = (blue - luma) / (2 - 2 * blue_share), (red - luma) / (2 - 2 * red_share)
            scale, low, wide = (255, 0, 255) if full_range else (219, 16, 224)
            planes = np.empty((48, 32), np.uint8)
            planes[:32] = round(luma * scale + low)
            planes[32:40], planes[40:] = (round(value * wide + 128) for value in chroma)
            picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            picture.colorspace, picture.color_range = matrix, 2 if full_range else 1
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    for color, frame in zip(colors, video.read_video(path), strict=True):
        assert np.abs(frame.reshape(-1, 3).mean(0) - color * 255).max() <= 4


def test_bad_videos(tmp_path: Path) -> None:
    path = tmp_path / "bad.mp4"
    with pytest.raises(InputError, match="does not exist"):
        video.read_video(path)
    with pytest.raises(InputError, match="folder"):
        video.read_video(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="empty"):
        video.read_video(path)
    path.write_bytes(b"text" * 100)
    with pytest.raises(InputError, match=r"bad\.mp4 is not a video"):
        video.read_video(path)
    video.write_mp4(path, moving_clip(20, 200, 200), 10)
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.8, 0.95):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match="damaged"):
            list(video.read_video(path))
    # Of the right length, but not all of it what it was: FFmpeg makes up what is missing.
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes(400) + whole[middle + 400 :])
    with pytest.raises(InputError, match="damaged"):
        list(video.read_video(path))


def film(path: Path, codec: str, format: str | None = None, **options: str) -> bytes:
    """A film of noise, which does not shrink: its bytes are spread over all its frames."""
    random = np.random.default_rng(0)
    with av.open(str(path), "w", format=format, options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(30):
            noise = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("film.mkv", "libx264", {}),
        ("film.webm", "libvpx-vp9", {}),
        ("film.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov", "frag_duration": "99999"}),
        ("film.ts", "libx264", {}),
        ("film.m2ts", "libx264", {"mpegts_m2ts_mode": "1"}),
    ],
)
def test_cut_videos_that_do_not_count_their_frames(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    path = tmp_path / name
    whole = film(path, codec, "mpegts" if path.suffix in (".ts", ".m2ts") else None, **options)
    clip = video.read_video(path)
    assert clip.frames == 0
    assert clip.count() == len(list(clip)) == 30
    for share in (0.1, 0.5, 0.8, 0.95):
        length = int(len(whole) * share)
        # A transport stream that ends with a packet shows nothing.
        path.write_bytes(whole[: length + (not (length % 188 and length % 192))])
        with pytest.raises(InputError, match=rf"{name} is truncated: get a complete copy"):
            video.read_video(path)


def test_a_film_written_live_does_not_say_how_long_it_is(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    whole = film(path, "libx264", live="1")
    assert len(list(video.read_video(path))) == 30
    path.write_bytes(whole[: len(whole) // 2])
    assert 10 < len(list(video.read_video(path))) < 20


def test_the_last_frame_lasts_as_long_as_the_film(tmp_path: Path) -> None:
    """Where frames are stored in another order, its own duration may be that of another."""
    path, random, thousandth = tmp_path / "uneven.mp4", np.random.default_rng(0), Fraction(1, 1000)
    moving = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.time_base = stream.codec_context.time_base = thousandth
        for shift, time in enumerate((0, 100, 150, 400, 500, 600)):
            frame = av.VideoFrame.from_ndarray(np.roll(moving, shift, 1), format="rgb24")
            frame.pts, frame.time_base = time, thousandth
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        (stream,) = container.streams.video
        length = float(stream.duration * stream.time_base)
        last = list(container.decode(stream))[-1]
        told = float((last.pts + last.duration) * stream.time_base)
    assert told == pytest.approx(0.7) and length == pytest.approx(0.65)
    times = [span for _, span in video.read_video(path).frames_with_times()]
    assert float(times[-1][0]) == pytest.approx(0.6)
    assert float(times[-1][1]) == pytest.approx(length)
