// Fixtures of the media tests: tests/golden/media, made by its make.py.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

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
std::string bytes_of(const std::string& path);
void write_bytes(const std::string& path, const std::string& bytes);

/// Fails unless read_image refuses the file in an error of image_url that has `word` in it.
void expect_picture_refused(const std::string& path, const std::string& word);
/// The texts of the notes on reading a picture.
std::vector<std::string> picture_notes(const std::string& path);

}  // namespace wan
