"""Each official layout is read as it is given out, and another is refused with what was found."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from b2m.data.footage import Reader, Source, examine, frame_files
from b2m.data.layouts import DVD_TEST, GOPRO_TEST, GOPRO_TEST_OF_8, gopro_window, read_layout
from b2m.errors import InputError
from b2m.media.video import write_mp4, write_timed_mp4


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def frames(folder, names):
    touch(*(folder / name for name in names))


def splits(sources):
    return {source.name: source.split for source in sources}


# --- official layouts ----------------------------------------------------------------------------

GOPRO_TRAIN = [
    "GOPR0372_07_00", "GOPR0372_07_01", "GOPR0374_11_00", "GOPR0374_11_01", "GOPR0374_11_02",
    "GOPR0374_11_03", "GOPR0378_13_00", "GOPR0379_11_00", "GOPR0380_11_00", "GOPR0384_11_01",
    "GOPR0384_11_02", "GOPR0384_11_03", "GOPR0384_11_04", "GOPR0385_11_00", "GOPR0386_11_00",
    "GOPR0477_11_00", "GOPR0857_11_00", "GOPR0868_11_01", "GOPR0868_11_02", "GOPR0871_11_01",
    "GOPR0881_11_00", "GOPR0884_11_00",
]  # fmt: skip


@pytest.fixture
def gopro(tmp_path):
    for split, names in (("train", GOPRO_TRAIN), ("test", GOPRO_TEST)):
        for name in names:
            frames(tmp_path / split / name, ["000047.png", "000048.png"])
    return tmp_path


def test_gopro_and_the_papers_splits(gopro):
    found = read_layout("gopro", gopro)
    assert [source.name for source in found] == sorted([*GOPRO_TRAIN, *GOPRO_TEST])
    assert {source.fps for source in found} == {240.0}
    assert found[0].files == ("000047.png", "000048.png")
    official = splits(found)
    assert list(official.values()).count("train") == 22
    assert list(official.values()).count("test") == 11
    assert splits(read_layout("gopro", gopro, "2021a")) == official
    other = splits(read_layout("gopro", gopro, "2021b"))
    assert list(other.values()).count("train") == 25
    assert {name for name, split in other.items() if split == "test"} == set(GOPRO_TEST_OF_8)


def test_gopro_without_folders_of_splits(tmp_path):
    for name in (GOPRO_TRAIN[0], GOPRO_TEST[0]):
        frames(tmp_path / name, ["1.png"])
    assert splits(read_layout("gopro", tmp_path)) == {
        GOPRO_TRAIN[0]: "train",
        GOPRO_TEST[0]: "test",
    }


def test_gopro_names_say_how_many_frames_were_averaged(gopro):
    windows = {one.name: gopro_window(one) for one in read_layout("gopro", gopro)}
    assert windows["GOPR0372_07_00"] == 7
    assert windows["GOPR0374_11_00"] == 11
    assert windows["GOPR0378_13_00"] == 13
    with pytest.raises(InputError, match="holiday"):
        gopro_window(Source("holiday", "train", gopro))


def test_gopro_large_is_not_gopro_large_all(tmp_path):
    for kind in ("blur", "sharp"):
        frames(tmp_path / "train" / "GOPR0372_07_00" / kind, ["000047.png"])
    with pytest.raises(InputError, match=r"GOPRO_Large_all.*240 fps"):
        read_layout("gopro", tmp_path)


def test_dvd(tmp_path):
    touch(
        tmp_path / "original_high_fps_videos" / "720p_240fps_1.mov",
        tmp_path / "original_high_fps_videos" / "IMG_0001.MOV",
        tmp_path / "quantitative_datasets" / "720p_240fps_2" / "input" / "00001.jpg",
        tmp_path / "quantitative_datasets" / "720p_240fps_2" / "GT" / "00001.jpg",
    )
    found = {source.name: source for source in read_layout("dvd", tmp_path)}
    assert set(found) == {"720p_240fps_1", "IMG_0001", "720p_240fps_2-pairs"}
    assert found["IMG_0001"].files == ()
    # 720p_240fps_2 is one of the 10 official test videos, of which 71 have pairs.
    assert {name: one.split for name, one in found.items()} == {
        "720p_240fps_1": "train",
        "IMG_0001": "train",
        "720p_240fps_2-pairs": "test",
    }
    assert len(set(DVD_TEST)) == 10
    assert found["720p_240fps_2-pairs"].files == ("00001.jpg",)


@pytest.mark.parametrize("nested", [False, True])
def test_reds(tmp_path, nested):
    for split in ("train", "val"):
        inside = tmp_path / split / f"{split}_orig" if nested else tmp_path / split
        frames(inside / "000", ["00000000.png", "00000001.png"])
        frames(inside / "001", ["00000000.png", "00000001.png"])
    found = read_layout("reds", tmp_path)
    expected = {"train_000": "train", "train_001": "train", "val_000": "val", "val_001": "val"}
    assert splits(found) == expected
    assert {source.fps for source in found} == {120.0}


def test_nfs(tmp_path):
    for number in range(20):
        name = f"clip_{number:02d}"
        frames(tmp_path / name / "240" / name, ["00001.jpg", "00002.jpg"])
        frames(tmp_path / name / "30" / name, ["00001.jpg"])
    found = read_layout("nfs", tmp_path)
    chosen = list(splits(found).values())
    assert [chosen.count(split) for split in ("train", "val", "test")] == [14, 3, 3]
    assert {source.fps for source in found} == {240.0}
    assert all(source.path.parent.name == "240" for source in found)


def test_aist(tmp_path):
    touch(
        tmp_path / "gBR_sBM_c01_d04_mBR0_ch01.mp4",
        tmp_path / "gBR_sBM_c09_d04_mBR0_ch01.mp4",
        tmp_path / "gPO_sBM_c01_d10_mPO1_ch02.mp4",
        tmp_path / "gXX_sBM_c01_d99_mXX1_ch02.mp4",
    )
    lists = tmp_path / "splits"
    lists.mkdir()
    (lists / "pose_train.txt").write_text("gBR_sBM_cAll_d04_mBR0_ch01\n")
    (lists / "pose_test.txt").write_text("gPO_sBM_cAll_d10_mPO1_ch02\n")
    (lists / "crossmodal_train.txt").write_text("gPO_sBM_cAll_d10_mPO1_ch02\n")
    assert splits(read_layout("aist", tmp_path)) == {
        "gBR_sBM_c01_d04_mBR0_ch01": "train",
        "gBR_sBM_c09_d04_mBR0_ch01": "train",
        "gPO_sBM_c01_d10_mPO1_ch02": "test",
    }
    crossed = splits(read_layout("aist", tmp_path, "crossmodal"))
    assert crossed == {"gPO_sBM_c01_d10_mPO1_ch02": "train"}


def test_monkaa(tmp_path):
    for scene in ("a_rain_of_stones_x2", "eating_x2"):
        for side in ("left", "right"):
            frames(tmp_path / "frames_cleanpass" / scene / side, ["0000.png", "0001.png"])
            flows = tmp_path / "optical_flow" / scene / "into_future" / side
            touch(flows / f"OpticalFlowIntoFuture_0000_{side[0].upper()}.pfm")
    found = read_layout("monkaa", tmp_path)
    assert [source.name for source in found][:2] == [
        "a_rain_of_stones_x2/left",
        "a_rain_of_stones_x2/right",
    ]
    assert found[0].split == found[1].split  # both eyes see one scene


def test_images_in_folders_of_splits_or_not(tmp_path):
    touch(*(tmp_path / "one" / f"pano_{n}.jpg" for n in range(40)))
    dealt = splits(read_layout("images", tmp_path / "one"))
    assert set(dealt.values()) == {"train", "val", "test"}
    touch(tmp_path / "two" / "train" / "a.jpg", tmp_path / "two" / "test" / "b.jpg")
    assert splits(read_layout("images", tmp_path / "two")) == {"a": "train", "b": "test"}
    # A pack has its photos in a folder of that name, beside others.
    pack = tmp_path / "pack"
    touch(pack / "photos" / "train" / "a.jpg", pack / "photos" / "test" / "b.jpg")
    touch(pack / "cutouts" / "train" / "c.webp", pack / "index.json")
    assert splits(read_layout("images", pack)) == {"a": "train", "b": "test"}


def test_genblur_takes_gopro_dvd_and_ones_own(tmp_path):
    frames(tmp_path / "GOPRO_Large_all" / "train" / GOPRO_TRAIN[0], ["1.png"])
    frames(tmp_path / "GOPRO_Large_all" / "test" / GOPRO_TEST[0], ["1.png"])
    touch(tmp_path / "DVD" / "original_high_fps_videos" / "720p_240fps_1.mov")
    touch(*(tmp_path / "mine" / f"street{number}.mp4" for number in range(20)))
    found = {one.name: one for one in read_layout("genblur", tmp_path)}
    mine = [found.pop(f"street{number}") for number in range(20)]
    assert set(found) == {GOPRO_TRAIN[0], GOPRO_TEST[0], "720p_240fps_1"}
    assert found[GOPRO_TEST[0]].split == "test" and found["720p_240fps_1"].split == "train"
    # One's own are dealt out, and are not DVD's.
    assert {one.split for one in mine} == {"train", "val", "test"}
    assert {one.licence for one in mine} == {"unknown"}


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("gopro", "GOPR0372_07_00"),
        ("dvd", "original_high_fps_videos"),
        ("reds", "train/000"),
        ("nfs", "NAME/240/NAME"),
        ("aist", "pose_train.txt"),
        ("monkaa", "frames_cleanpass"),
        ("images", "JPEG or PNG"),
        ("video", "Videos or folders of frames"),
        ("genblur", "videos"),
    ],
)
def test_another_layout_says_what_was_expected_and_found(tmp_path, layout, expected):
    touch(tmp_path / "holiday.txt", tmp_path / "letters" / "aunt.txt")
    with pytest.raises(InputError, match=r"found holiday\.txt, letters/") as refused:
        read_layout(layout, tmp_path)
    assert expected in str(refused.value)


def test_what_is_not_there_or_no_split(tmp_path, gopro):
    with pytest.raises(InputError, match="does not exist"):
        read_layout("reds", tmp_path / "nowhere")
    with pytest.raises(InputError, match="2021a, 2021b"):
        read_layout("gopro", gopro, "2022")
    with pytest.raises(InputError, match="leave it out"):
        read_layout("reds", tmp_path, "2021a")
    touch(tmp_path / "one.txt")
    with pytest.raises(InputError, match="is a file"):
        read_layout("reds", tmp_path / "one.txt")


def test_one_name_in_two_splits_is_refused(tmp_path):
    touch(tmp_path / "train" / "a.mp4", tmp_path / "test" / "a.mp4")
    with pytest.raises(InputError, match="two splits"):
        read_layout("video", tmp_path)


# --- frames --------------------------------------------------------------------------------------


def numbered(index, size=(32, 48)):
    """A frame whose grey says its number, also after H.264."""
    return np.full((*size, 3), 20 + 4 * index, np.uint8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_mp4(path, (numbered(index) for index in range(50)), 30)
    return Source("clip", "train", path)


def test_windows_of_a_video_begin_where_they_should(clip):
    found = examine(clip)
    assert (found.frames, found.fps, found.keyframes[0]) == (50, 30.0, 0)
    for spans in ([(0, 7), (7, 14), (12, 16)], [(23, 26), (40, 50), (3, 5)]):
        reader = Reader(clip)
        for start, stop in spans:
            grey = [round((frame.mean() - 20) / 4) for frame in reader.read(start, stop)]
            assert grey == list(range(start, stop))
    with pytest.raises(InputError, match="frame 50 cannot be decoded"):
        Reader(clip).read(48, 51)


def test_a_truncated_video_gives_what_it_has(clip, tmp_path):
    path = tmp_path / "cut.mp4"
    path.write_bytes(clip.path.read_bytes()[:-600])
    source = Source("cut", "train", path)
    assert examine(source).frames == 50  # as it claims
    reader = Reader(source)
    assert len(reader.read(0, 7)) == 7
    with pytest.raises(InputError, match="damaged or truncated"):
        reader.read(42, 50)


def test_a_variable_frame_rate_is_refused(tmp_path):
    times = [0, 10, 20, 30, 60, 70, 80]
    path = tmp_path / "uneven.mp4"
    shown = ((numbered(i), time) for i, time in enumerate(times))
    write_timed_mp4(path, shown, Fraction(1, 300), Fraction(30))
    with pytest.raises(InputError, match="variable frame rate"):
        examine(Source("uneven", "train", path))


def written(path, count, rate, *, codec="libx264", pixels="yuv420p", options=None):
    """A video whose frames say their numbers, in any container."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = 48, 32, pixels
        for index in range(count):
            picture = av.VideoFrame.from_ndarray(numbered(index), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return Source(path.stem, "train", path)


@pytest.mark.parametrize(
    ("name", "rate", "settings"),
    [
        ("plain.mp4", 240, {}),
        ("groups.mp4", 60, {"options": {"g": "9"}}),
        ("open.mov", 240, {"options": {"x264-params": "keyint=8:open-gop=1:bframes=3"}}),
        ("ticks.mkv", 240, {"options": {"g": "12"}}),  # milliseconds: 4, 4, 5
        ("fast.mkv", 960, {"options": {"g": "12"}}),  # 1, 1, 1 … 2
        ("ntsc.mp4", Fraction(30000, 1001), {"options": {"g": "10"}}),
        ("pictures.avi", 240, {"codec": "mjpeg", "pixels": "yuvj420p"}),
    ],
)
def test_frames_of_any_container_are_those_of_their_numbers(tmp_path, name, rate, settings):
    source = written(tmp_path / name, 50, rate, **settings)
    found = examine(source)
    assert found.frames == 50 and found.fps == pytest.approx(float(rate))
    if name == "groups.mp4":
        with av.open(str(source.path)) as container:
            decoded = enumerate(container.decode(video=0))
            assert found.keyframes == tuple(place for place, frame in decoded if frame.key_frame)
    for start in (0, 7, 8, 9, 23, 31, 41):
        grey = [round((frame.mean() - 20) / 4) for frame in Reader(source, found).read(start, 50)]
        assert grey == list(range(start, 50))


def test_more_than_8_bits_are_refused(tmp_path):
    source = written(tmp_path / "deep.mkv", 8, 30, codec="ffv1", pixels="yuv420p10le")
    with pytest.raises(InputError, match="10 bits per channel"):
        examine(source)


@pytest.mark.parametrize(
    ("times", "tick"),
    [
        ([0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12], 30),  # one frame left out, ticks of a frame
        ([0, 1, 2, 4, 7, 8, 10, 11, 12, 15], 30),
        ([0, 3, 6, 9, 12, 16, 19, 22, 25, 28, 31], 90),
        ([step * 100 + (step > 20) * (step - 20) * 2 for step in range(60)], 3000),  # drifts
    ],
)
def test_a_rate_that_varies_by_little_is_seen_at_any_scale_of_time(tmp_path, times, tick):
    path = tmp_path / "uneven.mp4"
    shown = ((numbered(place % 50), time) for place, time in enumerate(times))
    write_timed_mp4(path, shown, Fraction(1, tick), Fraction(30))
    with pytest.raises(InputError, match="variable frame rate"):
        examine(Source("uneven", "train", path))


def test_frames_are_ordered_by_number_and_a_constant_step_is_theirs(tmp_path):
    frames(tmp_path / "tens", [f"out{n}.png" for n in range(12)])
    assert frame_files(tmp_path / "tens") == tuple(f"out{n}.png" for n in range(12))
    names = [f"{n:09d}.png" for n in range(0, 40 * 33_333, 33_333)]
    frames(tmp_path, names)
    assert frame_files(tmp_path) == tuple(names)
    (tmp_path / names[5]).unlink()
    assert frame_files(tmp_path) == (*names[:5], "", *names[6:])
    # Every second frame of footage that has a rate: half of it.
    frames(tmp_path / "halves", [f"{n:03d}.png" for n in range(0, 20, 2)])
    source = Source("a", "train", tmp_path / "halves", frame_files(tmp_path / "halves"), 240.0)
    assert examine(source).fps == 120


def test_numbers_that_are_times_are_refused_in_one_sentence(tmp_path):
    rng = np.random.default_rng(0)
    times = np.cumsum(33_333_333 + rng.integers(-9_999, 9_999, 40))
    frames(tmp_path, [f"{time}.png" for time in times])
    found = frame_files(tmp_path)
    assert len(found) == 40 and all(found)
    with pytest.raises(InputError, match="as times do: number them"):
        examine(Source("a", "train", tmp_path, found))


def test_a_few_breaks_are_missing_frames(tmp_path):
    frames(tmp_path, [f"{n}.png" for n in (*range(10), *range(12, 20), *range(9_000, 9_010))])
    assert frame_files(tmp_path).count("") == 2 + 1000


def test_bad_frames_are_told_apart(tmp_path):
    for index in range(12):
        Image.fromarray(numbered(index)).save(tmp_path / f"{index + 1:06d}.png")
    source = Source("frames", "train", tmp_path, frame_files(tmp_path), 240.0)
    Image.fromarray(numbered(3, (32, 40))).save(tmp_path / "000003.png")
    cv2.imwrite(str(tmp_path / "000005.png"), numbered(5).astype(np.uint16) * 257)
    whole = (tmp_path / "000007.png").read_bytes()
    (tmp_path / "000007.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "000009.png").unlink()
    reader = Reader(source)
    assert len(reader.read(0, 2)) == 2
    for index, said in ((2, "one size"), (4, "8 bits"), (6, "damaged"), (8, "does not exist")):
        with pytest.raises(InputError, match=said):
            reader.read(index, index + 2)
    assert len(reader.read(9, 12)) == 3
