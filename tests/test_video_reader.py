"""Videos from the field: each is read as FFmpeg itself shows it, or refused in a sentence."""

import gc
import os
import shutil
import subprocess
import sys

import av
import numpy as np
import pytest
from made_pictures import hlg, mean_apart, pattern, pq, to_bt2020

from b2m.errors import InputError
from b2m.media import video
from b2m.media.video_reader import MAX_FRAME_PIXELS, open_video

HEIGHT, WIDTH = 96, 128
needs_ffmpeg = pytest.mark.skipif(
    not shutil.which("ffmpeg"), reason="ffmpeg, the reference for reading videos, is not installed"
)


def made(path, frames, codec="libx264", pix_fmt="yuv420p", cover=None, **options):
    """Write frames, (H, W, 3|4) uint8, with PyAV, 25 a second; those that are None are left out."""
    with av.open(str(path), "w") as container:
        given = [(cover, "mjpeg", "yuvj420p", {})] * (cover is not None)
        given.append((frames, codec, pix_fmt, options))
        streams = [container.add_stream(kind, rate=25) for _, kind, *_ in given]
        for stream, (pictures, _, layout, settings) in zip(streams, given, strict=True):
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt, stream.options = layout, settings
        for stream, (pictures, *_) in zip(streams, given, strict=True):
            for number, frame in enumerate(pictures):
                if frame is not None:
                    kind = {3: "rgb24", 4: "rgba"}[frame.shape[2]]
                    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=kind)
                    picture.pts = number
                    container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    return path


def film(count=8, height=HEIGHT, width=WIDTH):
    return [np.roll(pattern(height, width), 2 * i, 1) for i in range(count)]


def ffmpeg(path, size, *options):
    """What the program ffmpeg shows of a file, (T, H, W, 3)."""
    command = ["ffmpeg", "-loglevel", "error", "-i", path, *options, "-f", "rawvideo"]
    out = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], check=True, capture_output=True)
    return np.frombuffer(out.stdout, np.uint8).reshape(-1, *size, 3)


# --- security -------------------------------------------------------------------------------------


PLAYLISTS = {
    "p.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n",
    "p.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n",
    "p.mkv": "ffconcat version 1.0\nfile {path}\n",
    "p.avi": "\n\n  ffconcat version 1.0\nfile {path}\n",
    "p.mov": "file '{path}'\n",
    "p.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "p.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash"><BaseURL>{url}</BaseURL></MPD>',
    "p.webm": '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    "p.asx": '<asx version="3.0"><entry><ref href="{url}"/></entry></asx>',
    "p.txt": "{url}\n",
    "p%03d.png": "{path}",
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_nothing_else_is_opened(tmp_path, name, monkeypatch):
    other = made(tmp_path / "secret.ts", film(3))
    path = tmp_path / name
    path.write_text(PLAYLISTS[name].format(url=f"file://{other}", path=other))
    with pytest.raises(InputError, match=r"playlist|not a video"):
        video.read_video(path)
    # Also where the first look does not tell what it is.
    monkeypatch.setattr("b2m.media.video_reader.is_playlist", lambda head: False)
    monkeypatch.setattr("b2m.media.video_reader.kind_of", lambda head: None)
    with pytest.raises(InputError):
        video.read_video(path)


def test_names_are_no_addresses(tmp_path, monkeypatch):
    """FFmpeg would take what is before a colon for a protocol."""
    made(tmp_path / "12:30:05.mp4", film())
    made(tmp_path / "concat:a.mp4", film())
    monkeypatch.chdir(tmp_path)
    assert len(list(video.read_video("12:30:05.mp4"))) == 8
    assert len(list(video.read_video("concat:a.mp4"))) == 8


def test_size_is_checked_before_anything_is_decoded(tmp_path):
    path = made(tmp_path / "large.mp4", film(2))
    with pytest.raises(InputError, match=r"128x96 pixels: at most 0\.012287 million"):
        video.read_video(path, max_pixels=HEIGHT * WIDTH - 1)
    assert MAX_FRAME_PIXELS < 9000**2


def test_a_header_that_lies_about_the_size(tmp_path):
    """The decoder is told the limit, too: a stream may claim less than its frames have."""
    path = made(tmp_path / "small.avi", film(2), "mjpeg", "yuvj420p")
    data = bytearray(path.read_bytes())
    for where in (data.index(b"avih") + 40, data.index(b"strf") + 12):
        data[where : where + 8] = (16).to_bytes(4, "little") * 2
    path.write_bytes(data)
    with pytest.raises(InputError):
        list(video.read_video(path, max_pixels=1000))


# --- played as every player plays them ------------------------------------------------------------


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "mov", "avi"])
@pytest.mark.parametrize("start", ["0.5", "0.9"])
def test_clips_that_were_cut_out_of_others(tmp_path, suffix, start):
    """Edit lists, packets to discard and starts between keys."""
    options = {"g": "8", "bf": "2"}
    whole = made(tmp_path / f"whole.{'avi' if suffix == 'avi' else 'mp4'}", film(40), **options)
    path = tmp_path / f"cut.{suffix}"
    command = ["ffmpeg", "-loglevel", "error", "-ss", start, "-i", whole, "-t", "0.6", "-c", "copy"]
    subprocess.run([*command, path], check=True)
    clip = video.read_video(path)
    shown = ffmpeg(path, (HEIGHT, WIDTH), "-fps_mode", "passthrough")
    read = list(clip)
    assert len(read) == len(shown)
    assert mean_apart(read, shown) < 1.5


def test_streams_that_begin_between_keys(tmp_path):
    """As of television, where a recording begins anywhere."""
    whole = made(tmp_path / "whole.ts", film(40), g="10", bf="0").read_bytes()
    path = tmp_path / "cut.ts"
    path.write_bytes(whole[: 3 * 188] + whole[len(whole) // 8 // 188 * 188 :])
    assert 20 <= len(list(video.read_video(path))) < 40


def test_repeated_frames_of_avi(tmp_path):
    """An empty chunk shows the frame before for longer."""
    frames = [None if number % 6 == 5 else frame for number, frame in enumerate(film(14))]
    clip = video.read_video(made(tmp_path / "d.avi", frames, "mjpeg", "yuvj420p"))
    times = [float(start) for _, (start, _) in clip.frames_with_times()]
    assert len(times) == clip.count() == 12
    assert times[5] - times[4] == pytest.approx(2 / 25)


def test_a_still_picture_before_the_film(tmp_path):
    clip = video.read_video(made(tmp_path / "c.mkv", film(), cover=[pattern(240, 320)]))
    assert (clip.width, clip.height, len(list(clip))) == (WIDTH, HEIGHT, 8)


def test_a_change_of_size_names_the_frame(tmp_path):
    parts = [made(tmp_path / f"{w}.ts", film(5, 64, w)).read_bytes() for w in (96, 64)]
    path = tmp_path / "r.ts"
    path.write_bytes(b"".join(parts))
    with pytest.raises(InputError, match="frame 5 is 64x64 pixels, those before are 96x64"):
        list(video.read_video(path))


def test_joined_streams_play_on(tmp_path):
    """The clock of the second one begins anew."""
    part = made(tmp_path / "a.ts", film(10), bf="0").read_bytes()
    path = tmp_path / "j.ts"
    path.write_bytes(part + part)
    starts = [float(start) for _, (start, _) in video.read_video(path).frames_with_times()]
    assert len(starts) == 20
    assert np.diff(starts) == pytest.approx(1 / 25, abs=1e-3)


# --- shown as every player shows them -------------------------------------------------------------


def turned(swapped, flip_x, flip_y):
    """The display matrix, 16.16 fixed point, that swaps the axes and then flips them."""
    a, d = (0, 0) if swapped else (1 - 2 * flip_x, 1 - 2 * flip_y)
    c, b = (1 - 2 * flip_x, 1 - 2 * flip_y) if swapped else (0, 0)
    one = 1 << 16
    return [a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30]


@needs_ffmpeg
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("flip_x", [False, True])
@pytest.mark.parametrize("flip_y", [False, True])
def test_every_display_matrix(tmp_path, swapped, flip_x, flip_y):
    path = made(tmp_path / "t.mp4", film(2), crf="1")
    data = path.read_bytes()
    # In the track's header; FFmpeg writes the identity there.
    identity = b"".join(v.to_bytes(4, "big", signed=True) for v in turned(False, False, False))
    matrix = b"".join(v.to_bytes(4, "big", signed=True) for v in turned(swapped, flip_x, flip_y))
    where = data.index(identity, data.index(b"tkhd"))
    path.write_bytes(data[:where] + matrix + data[where + 36 :])
    clip = video.read_video(path)
    size = (WIDTH, HEIGHT) if swapped else (HEIGHT, WIDTH)
    assert (clip.height, clip.width) == size
    first = next(iter(clip))
    expected = film(1)[0].swapaxes(0, 1) if swapped else film(1)[0]
    expected = expected[::-1] if flip_y else expected
    expected = expected[:, ::-1] if flip_x else expected
    assert mean_apart(first, expected) < 6
    assert mean_apart(first, ffmpeg(path, size)[0]) < 1.5


@needs_ffmpeg
@pytest.mark.parametrize(("aspect", "size"), [("64:45", (96, 182)), ("8:9", (108, 128))])
def test_square_pixels(tmp_path, aspect, size):
    whole = made(tmp_path / "w.mp4", film(2), crf="1")
    path = tmp_path / "s.mp4"
    command = ["ffmpeg", "-loglevel", "error", "-i", whole, "-crf", "1"]
    subprocess.run([*command, "-vf", f"setsar={aspect.replace(':', '/')}", path], check=True)
    clip = video.read_video(path)
    assert (clip.height, clip.width) == size
    first = next(iter(clip))
    assert first.shape[:2] == size
    scaled = ffmpeg(path, size, "-vf", f"scale={size[1]}:{size[0]}")[0]
    assert mean_apart(first, scaled) < 2.5


@pytest.mark.parametrize(("code", "encode", "name"), [(16, pq, "PQ"), (18, hlg, "HLG")])
def test_hdr_is_mapped_with_a_warning(tmp_path, code, encode, name):
    """Pictures of ordinary brightness, shown with their white at 203 nits, come back."""
    frame = pattern(HEIGHT, WIDTH)
    deep = np.rint(encode(to_bt2020(frame)) * 65535).astype(np.uint16)

    path = tmp_path / "h.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=25)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p10le"
        stream.options = {
            "crf": "5",
            "x265-params": "log-level=error:pools=none:frame-threads=1:bframes=0",
        }
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = 9, code, 9
        for number in range(2):
            picture = av.VideoFrame.from_ndarray(deep, format="rgb48le")
            picture = picture.reformat(format="yuv420p10le", dst_colorspace="BT2020")
            picture.pts, picture.colorspace = number, 9
            picture.color_trc, picture.color_primaries = code, 9
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    clip = video.read_video(path)
    assert name in clip.warnings[0] and "HDR" in clip.warnings[0]
    assert mean_apart(next(iter(clip)), frame) < 4


@needs_ffmpeg
def test_interlaced_is_deinterlaced(tmp_path):
    path = tmp_path / "i.mp4"
    command = ["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=s=192x128:r=50"]
    command += ["-frames:v", "16", "-vf", "tinterlace=interleave_top,setfield=tff"]
    command += ["-crf", "4", "-pix_fmt", "yuv420p"]
    subprocess.run([*command, "-flags", "+ilme+ildct", path], check=True)
    clip = video.read_video(path)
    assert "interlaced" in clip.warnings[0]
    read = list(clip)
    filtered = ffmpeg(path, (128, 192), "-vf", "bwdif=mode=send_frame:deint=interlaced")
    assert len(read) == len(filtered) == clip.count()
    assert mean_apart(read, filtered) < 1
    assert mean_apart(read[2], ffmpeg(path, (128, 192))[2]) > 1, "as it is stored it shows combs"


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [("a.mov", "qtrle", "argb"), ("a.mov", "png", "rgba"), ("a.webm", "libvpx-vp9", "yuva420p")],
)
def test_what_is_transparent_is_white(tmp_path, name, codec, pix_fmt):
    frame = np.zeros((64, 64, 4), np.uint8)
    frame[..., 0] = frame[..., 2] = 255
    frame[:, 32:, 3] = 255
    first = next(iter(video.read_video(made(tmp_path / name, [frame] * 3, codec, pix_fmt))))
    assert np.abs(first[8:56, 4:28].astype(int) - 255).max() <= 3
    assert np.abs(first[8:56, 36:60].astype(int) - (255, 0, 255)).max() <= 12


def test_a_gif_with_transparency(tmp_path):
    from PIL import Image

    frames = [Image.new("RGBA", (32, 32), (0, 0, 0, 0)) for _ in range(3)]
    for number, frame in enumerate(frames):
        frame.paste((255, 0, 0, 255), (4 * number, 0, 4 * number + 8, 32))
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], disposal=2)
    first = next(iter(video.read_video(tmp_path / "a.gif")))
    assert (first[:, 20:] == 255).all() and (first[:, :8] == (255, 0, 0)).all()


def test_the_stream_is_closed_when_reading_ends_early(tmp_path):
    with open_video(made(tmp_path / "v.mp4", film())) as (container, stream):
        assert stream.type == "video"
    with pytest.raises(AssertionError, match="not open"):
        next(container.demux(stream))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the threads of a process")
def test_frames_leave_no_threads(tmp_path):
    """Threads that live until garbage is collected hang a process that was forked meanwhile."""
    path = made(tmp_path / "clip.mp4", film(24))
    threads = len(os.listdir("/proc/self/task"))
    gc.disable()
    try:
        assert len(list(video.read_video(path))) == 24
        assert len(os.listdir("/proc/self/task")) <= threads
    finally:
        gc.enable()
