// Fixtures of the media tests: tests/golden/media, made by its make.py.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "engine/media/media_file.h"

namespace wan {

/// The path of a fixture.
std::string media_file(const std::string& name);
/// What another library made of a fixture, out of expected.safetensors.
at::Tensor expected(const std::string& name);
/// Names in expected.safetensors that begin with `prefix`, without it.
std::vector<std::string> expected_names(const std::string& prefix);

/// uint8 [frames, height, width, 3]: smooth colours that move, the same at each call.
at::Tensor moving_picture(int64_t frames, int64_t height, int64_t width);
/// Peak signal-to-noise ratio of uint8 pictures in decibels.
double decibels(const at::Tensor& got, const at::Tensor& want);
/// A tone that comes and goes, as 16-bit mono WAV.
void write_sound(const std::string& path, uint32_t rate, double seconds);

/// A whole sound in memory.
struct Audio {
  at::Tensor samples;  // float32 [n]
  int64_t rate = 0;
  std::string resampler;  // as AudioReader::resampler()
  int64_t damaged_packets = 0;
};

/// The whole file as mono at `rate`. Errors as AudioReader's.
Audio read_audio(const MediaFile& file, int64_t rate);
/// Runs the ffmpeg program with these arguments; a failure is one of the test's.
void ffmpeg(const std::string& arguments);

std::string bytes_of(const std::string& path);
void write_bytes(const std::string& path, const std::string& bytes);

/// Fails unless read_image refuses the file in an error of image_url that has `word` in it.
void expect_picture_refused(const std::string& path, const std::string& word);
/// The texts of the notes on reading a picture.
std::vector<std::string> picture_notes(const std::string& path);

}  // namespace wan
