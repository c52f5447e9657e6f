"""The pixels and samples that must come out of video and audio files: rotations, transparency, channels, formats, rates."""

from __future__ import annotations

import socket
import struct

import av
import numpy as np
import pytest
from av.audio.layout import AudioLayout

from seawall.errors import DataError
from seawall.media import pixels
from seawall.media.modality import find_modality, read_medium
from seawall.media.sound import mix_channels

RATE = 16_000
GREYS = (16, 80, 160, 235)
"""Greys of the quadrants of a frame: upper left, upper right, lower left, lower right."""
# fmt: off
LAYOUTS = [
    "mono", "stereo", "2.1", "3.0", "3.0(back)", "4.0", "quad", "quad(side)", "3.1", "5.0", "5.0(side)", "4.1",
    "5.1", "5.1(side)", "6.0", "6.0(front)", "3.1.2", "hexagonal", "6.1", "6.1(back)", "6.1(front)", "7.0",
    "7.0(front)", "7.1", "7.1(wide)", "7.1(wide-side)", "5.1.2", "5.1.2(back)", "octagonal", "cube", "5.1.4",
    "7.1.2", "7.1.4", "7.2.3", "9.1.4", "9.1.6", "hexadecagonal", "downmix", "binaural", "22.2",
]
# fmt: on
PCM = {"pcm_u8": 8, "pcm_s16le": 16, "pcm_s24le": 24, "pcm_s32le": 32, "pcm_f32le": 24, "pcm_f64le": 24}
"""Codec -> bits of its samples."""
COMPANDED = {"pcm_alaw": 0.03, "pcm_mulaw": 0.03, "adpcm_ms": 0.03}
"""Codec -> largest error."""


def read(name, path):
    return read_medium(find_modality(name), path)


def draw(greys=GREYS, width=64, height=48):
    """Return a frame of four quadrants, shape = (height, width, 3)."""
    values = np.array(greys, np.uint8).reshape(2, 2)
    return np.repeat(values.repeat(height // 2, 0).repeat(width // 2, 1)[..., None], 3, 2)


def corners(frame):
    height, width = frame.shape[:2]
    return [
        int(frame[row, column].mean())
        for row in (height // 4, 3 * height // 4)
        for column in (width // 4, 3 * width // 4)
    ]


def write_video(path, frames, codec="libx264", pix_fmt="yuv420p", rotation=None, flip=False, **options):
    container = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=container) as file:
        height, width = frames[0].shape[:2]
        stream = file.add_stream(codec, rate=24, width=width, height=height, pix_fmt=pix_fmt, options=options)
        if rotation is not None:
            stream.set_display_rotation(rotation, hflip=flip)
        for frame in frames:
            kind = "rgba" if frame.shape[2] == 4 else "rgb24"
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=kind)))
        file.mux(stream.encode(None))
    return path


def write_sound(path, channels, layout="mono", rate=RATE, codec="pcm_f32le", options=None):
    """Write a waveform of shape (channels, samples)."""
    with av.open(str(path), "w", options=options or {}) as file:
        stream = file.add_stream(codec, rate=rate, layout=layout)
        packed = np.ascontiguousarray(np.asarray(channels, np.float32).T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
        frame.sample_rate = rate
        file.mux([*stream.encode(frame), *stream.encode(None)])
    return path


def make_tone(seconds=0.5, rate=RATE, frequency=440, peak=0.5):
    return (peak * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def get_inner(sound):
    """Return a sound without its first and last 50 ms, where filters swing in and out."""
    return sound[RATE // 20 : -RATE // 20]


def get_level(sound):
    return float(np.sqrt(np.mean(np.square(get_inner(sound)))))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_every_display_matrix_is_applied(rotation, flip, tmp_path):
    shown = np.rot90(draw(), rotation // 90)
    shown = shown[:, ::-1] if flip else shown
    for ending in (".mp4", ".mov", ".mkv"):
        path = write_video(tmp_path / f"a{ending}", [draw()] * 3, rotation=rotation, flip=flip)
        video = read("video", path)
        assert video.shape == (3, *shown.shape)
        assert all(corners(frame) == pytest.approx(corners(shown), abs=3) for frame in video), ending


def test_a_display_matrix_of_another_angle_is_refused(tmp_path):
    path = write_video(tmp_path / "a.mp4", [draw()] * 3, rotation=30)
    with pytest.raises(DataError, match=r"a\.mp4 .*its display matrix turns it by 29 degrees; encode it again"):
        read("video", path)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "ending"),
    [
        ("libvpx", "yuva420p", ".webm"),
        ("libvpx-vp9", "yuva420p", ".webm"),
        ("qtrle", "argb", ".mov"),
        ("png", "rgba", ".mov"),
        ("ffv1", "bgra", ".mkv"),
    ],
)
def test_transparent_videos_are_shown_on_white(codec, pix_fmt, ending, tmp_path):
    black = np.zeros((48, 64, 4), np.uint8)
    black[:24, :, 3] = 255
    path = write_video(
        tmp_path / f"a{ending}", [black] * 3, codec, pix_fmt, **({"auto-alt-ref": "0"} if "vpx" in codec else {})
    )
    video = read("video", path)
    assert len(video) == 3 and all(corners(frame) == pytest.approx([0, 0, 255, 255], abs=3) for frame in video)


def copy_from(source, target, kind, seconds):
    """Copy a stream from a time on, without decoding it. What lies before is left to an edit list."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = getattr(old.streams, kind)[0]
        copied = new.add_stream_from_template(stream)
        for packet in old.demux(stream):
            if packet.dts is not None:
                offset = int(seconds / stream.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - offset, packet.dts - offset, copied
                new.mux(packet)
    return target


def test_a_video_that_was_trimmed_without_encoding_is_read_from_where_it_was_cut(tmp_path):
    frames = [draw((value,) * 4) for value in range(0, 240, 5)]
    whole = write_video(tmp_path / "whole.mp4", frames, g="12")
    video = read("video", copy_from(whole, tmp_path / "cut.mp4", "video", 17 / 24))
    assert video.mean((1, 2, 3)) == pytest.approx(np.arange(85, 240, 5), abs=2)


def test_a_sound_that_was_trimmed_without_encoding_is_read(tmp_path):
    tone = np.concatenate([make_tone(1.0, 48_000, peak=0.1), make_tone(1.0, 48_000, peak=0.5)])
    whole = write_sound(tmp_path / "whole.m4a", tone[None], rate=48_000, codec="aac")
    sound = read("audio", copy_from(whole, tmp_path / "cut.m4a", "audio", 1.0))
    assert len(sound) == pytest.approx(RATE, rel=0.06) and get_level(sound) == pytest.approx(0.5 / 2**0.5, rel=0.1)


@pytest.mark.parametrize(
    ("ending", "codec"), [(".mp4", "libx264"), (".avi", "libx264"), (".mkv", "libx264"), (".webm", "libvpx")]
)
def test_cut_videos_are_refused(ending, codec, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (48, 48, 64, 3), dtype=np.uint8)
    path = write_video(tmp_path / f"a{ending}", noise, codec)
    assert len(read("video", path)) == 48
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(DataError, match="not a readable video"):
        read("video", path)


def test_a_decoded_video_or_sound_that_is_too_large_is_refused(tmp_path, monkeypatch):
    video, gif = write_video(tmp_path / "a.mp4", [draw()] * 30), tmp_path / "a.gif"
    write_video(gif, [draw()] * 30, "gif", "rgb8")
    sound = write_sound(tmp_path / "a.wav", make_tone(2.0)[None])
    monkeypatch.setattr(pixels, "MAX_BYTES", 100_000)
    for name, path in (("video", video), ("video", gif), ("audio", sound)):
        with pytest.raises(DataError, match="GiB in memory; make it shorter or smaller"):
            read(name, path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_speech_in_any_channel_of_any_layout_keeps_its_loudness(layout, tmp_path):
    number, tone = AudioLayout(layout).nb_channels, make_tone()
    for channel in range(number):
        channels = np.zeros((number, len(tone)), np.float32)
        channels[channel] = tone
        sound = read("audio", write_sound(tmp_path / "a.wav", channels, layout))
        assert get_inner(sound) == pytest.approx(get_inner(tone), abs=1e-3), channel
    noise = np.random.default_rng(0).normal(0, 0.005, channels.shape).astype(np.float32)
    noisy = read("audio", write_sound(tmp_path / "a.wav", channels + noise, layout))
    assert get_level(noisy) == pytest.approx(get_level(tone), rel=0.05), "noise on all channels"
    same = read("audio", write_sound(tmp_path / "a.wav", np.stack([tone] * number), layout))
    assert np.array_equal(same, read("audio", write_sound(tmp_path / "b.wav", tone[None])))


def test_channels_do_not_cancel(tmp_path):
    """Antiphase, also behind a sound that is in phase, and a delay of half a period."""
    voice, music = make_tone(), make_tone(frequency=1700)
    for channels in ([voice, -voice], [voice, voice, -voice, -voice], [music + voice, music - voice]):
        layout = {2: "stereo", 4: "quad"}[len(channels)]
        sound = read("audio", write_sound(tmp_path / "a.wav", channels, layout))
        spectrum = np.abs(np.fft.rfft(get_inner(sound) * np.hanning(len(get_inner(sound)))))
        spectrum /= np.abs(np.fft.rfft(get_inner(voice) * np.hanning(len(get_inner(voice))))).max()
        peak = round(440 * len(get_inner(sound)) / RATE)
        assert spectrum[peak - 2 : peak + 3].max() == pytest.approx(1, rel=0.1)
    delayed = np.roll(voice, RATE // 880)
    assert get_level(mix_channels(np.stack([voice, delayed]))) == pytest.approx(get_level(voice), rel=0.05)


def test_two_speakers_on_two_channels_are_both_heard():
    left, right = make_tone(frequency=400), make_tone(frequency=900)
    sound = get_inner(mix_channels(np.stack([left, right])))
    assert sound == pytest.approx(get_inner(left + right), abs=0.02)


@pytest.mark.parametrize(
    "rate", [8000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000]
)
@pytest.mark.parametrize("ending", [".wav", ".flac"])
def test_every_sampling_rate_gives_the_same_sound(rate, ending, tmp_path):
    codec = {".wav": "pcm_s16le", ".flac": "flac"}[ending]
    sound = read("audio", write_sound(tmp_path / f"a{ending}", make_tone(rate=rate)[None], rate=rate, codec=codec))
    assert len(sound) == pytest.approx(RATE // 2, abs=40)
    assert get_inner(sound) == pytest.approx(get_inner(make_tone()[: len(sound)]), abs=0.01)


@pytest.mark.parametrize("codec", [*PCM, *COMPANDED])
def test_every_sample_format_gives_the_same_sound(codec, tmp_path):
    sound = read("audio", write_sound(tmp_path / "a.wav", make_tone()[None], codec=codec))
    error = COMPANDED[codec] if codec in COMPANDED else 2.0 ** (1 - PCM[codec]) + 1e-6
    assert get_inner(sound[: RATE // 2]) == pytest.approx(get_inner(make_tone()), abs=error)


def test_samples_that_are_no_numbers_are_refused(tmp_path):
    tone = make_tone()
    tone[100] = np.nan
    with pytest.raises(DataError, match=r"a\.wav .*it has samples that are no numbers"):
        read("audio", write_sound(tmp_path / "a.wav", tone[None]))


@pytest.mark.parametrize("stated", [0xFFFFFFFF, 0x7FFFFFFF, 0x80000024, 0x7FFFF024])
def test_a_wav_file_that_was_written_to_a_pipe_is_read(stated, tmp_path):
    samples = (make_tone() * 32_767).astype("<i2").tobytes()
    head = struct.pack("<4sI8sIHHIIHH", b"RIFF", stated, b"WAVEfmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    (tmp_path / "a.wav").write_bytes(head + struct.pack("<4sI", b"data", max(0, stated - 36)) + samples)
    assert read("audio", tmp_path / "a.wav") == pytest.approx(make_tone(), abs=1e-4)


JUNK = {
    "zeros": bytes(3000),
    "noise": np.random.default_rng(0).integers(0, 255, 5000, dtype=np.uint8).tobytes(),
    "text": b"<html>no sound</html>" * 100,
    "short": b"\0junk",
    "tag": b"ID3\x04\0\0\0\0\x10\0" + b"j" * 2048,
}


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("count", [0, 1], ids=["uncounted", "counted"])
def test_an_mp3_file_with_junk_behind_its_last_frame_is_read_with_a_warning(count, junk, tmp_path, caplog):
    tone, options = make_tone(2.0, 44_100), {"write_xing": str(count)}
    path = write_sound(tmp_path / "a.mp3", tone[None], rate=44_100, codec="libmp3lame", options=options)
    clean = read("audio", path)
    assert not caplog.text
    path.write_bytes(path.read_bytes() + JUNK[junk])
    found = read("audio", path)
    assert abs(len(found) - len(clean)) < 0.05 * RATE and get_level(found) == pytest.approx(get_level(clean), rel=0.02)
    assert f"a.mp3 has {len(JUNK[junk])} bytes behind its last frame" in caplog.text or junk == "noise"


def test_an_mp3_file_that_is_damaged_in_the_middle_or_cut_is_refused(tmp_path):
    path = write_sound(tmp_path / "a.mp3", make_tone(2.0, 44_100)[None], rate=44_100, codec="libmp3lame")
    whole = path.read_bytes()
    half = len(whole) // 2
    for broken in (whole[:half], whole[:half] + JUNK["noise"] + whole[half + 5000 :]):
        path.write_bytes(broken)
        with pytest.raises(DataError, match="not a readable audio"):
            read("audio", path)


def test_joined_mp3_files_are_read_as_a_whole_or_refused(tmp_path):
    path = write_sound(tmp_path / "a.mp3", make_tone(2.0, 44_100)[None], rate=44_100, codec="libmp3lame")
    one = path.read_bytes()
    path.write_bytes(one + one[one.index(b"\xff\xfb") :])
    assert len(read("audio", path)) > 3.9 * RATE
    path.write_bytes(one + JUNK["noise"] + one)
    with pytest.raises(DataError, match="not a readable audio"):
        read("audio", path)


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%20b", "a b", "a:b", "http:b", "a[1]", "%03d", "-a", "ü"])
def test_file_names_are_never_taken_for_patterns_or_addresses(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "v.mp4", [draw()] * 2).rename(tmp_path / f"{name}.mp4")
    write_sound(tmp_path / "s.wav", make_tone()[None]).rename(tmp_path / f"{name}.wav")
    assert len(read("video", f"{name}.mp4")) == 2 and len(read("audio", f"{name}.wav")) == RATE // 2


@pytest.mark.parametrize(
    "address", ["http://localhost:1/a.png", "https://a.org/a.wav", "s3://a/b.mp4", "file:///tmp/a.mp4"]
)
@pytest.mark.parametrize("name", ["image", "video", "audio"])
def test_addresses_are_refused(name, address):
    with pytest.raises(DataError, match=r"is a URL\. Media are read from files only"):
        read(name, address)


@pytest.mark.parametrize("text", ["#EXTM3U\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile '{}'\n"])
def test_a_playlist_does_not_open_what_it_refers_to(text, tmp_path):
    target = write_video(tmp_path / "other.mp4", [draw()] * 2)
    with socket.create_server(("localhost", 0)) as server:
        for place in (f"http://localhost:{server.getsockname()[1]}/other.mp4", target.name, str(target)):
            (tmp_path / "a.mp4").write_text(text.format(place))
            with pytest.raises(DataError, match=r"a\.mp4 is not a readable video"):
                read("video", tmp_path / "a.mp4")
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()


def test_the_cover_of_a_sound_is_no_video(tmp_path):
    path = tmp_path / "a.mp3"
    with av.open(str(path), "w") as file:
        sound, cover = file.add_stream("libmp3lame", rate=44_100, layout="mono"), file.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        file.mux(cover.encode(av.VideoFrame.from_ndarray(draw(), format="rgb24")))
        frame = av.AudioFrame.from_ndarray(make_tone(1.0, 44_100)[None], format="fltp", layout="mono")
        frame.sample_rate = 44_100
        file.mux([*sound.encode(frame), *sound.encode(None)])
    assert len(read("audio", path)) > RATE // 2
    with pytest.raises(DataError, match="it has no pictures"):
        read("video", path)
