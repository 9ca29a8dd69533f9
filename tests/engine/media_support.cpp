#include "tests/engine/media_support.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "engine/base/error.h"
#include "engine/media/audio_reader.h"
#include "engine/media/image_reader.h"
#include "models/weights/checkpoint.h"

namespace wan {

std::string media_file(const std::string& name) {
  return WAN_SOURCE_DIR "/tests/golden/media/" + name;
}

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
}

namespace {

const Checkpoint& goldens() {
  static const Checkpoint loaded = Checkpoint::open(media_file("expected.safetensors"));
  return loaded;
}

}  // namespace

at::Tensor expected(const std::string& name) {
  return goldens().map(name);
}

std::vector<std::string> expected_names(const std::string& prefix) {
  std::vector<std::string> names;
  for (const auto& [name, stored] : goldens().tensors()) {
    if (name.compare(0, prefix.size(), prefix) == 0) names.push_back(name.substr(prefix.size()));
  }
  return names;
}

at::Tensor moving_picture(int64_t frames, int64_t height, int64_t width) {
  at::Tensor t = at::arange(frames).view({-1, 1, 1}), y = at::arange(height).view({1, -1, 1});
  at::Tensor x = at::arange(width).view({1, 1, -1});
  auto wave = [](const at::Tensor& phase) { return ((phase * (2 * M_PI)).sin() * 100 + 128).to(at::kByte); };
  at::Tensor flow = t * 0.02, across = x.to(at::kFloat) / double(width), down = y.to(at::kFloat) / double(height);
  return at::stack({wave(across + flow + down * 0), wave(down - flow + across), wave(across * 0.5 - flow + down * 0.7)},
                   -1);
}

double decibels(const at::Tensor& got, const at::Tensor& want) {
  double error = (got.to(at::kDouble) - want.to(at::kDouble)).square().mean().item<double>();
  return error == 0 ? 200 : 10 * std::log10(255.0 * 255.0 / error);
}

Audio read_audio(const MediaFile& file, int64_t rate) {
  AudioReader reader(file, Mix::Mono, rate);
  std::vector<at::Tensor> pieces = {at::empty({1, 0}, at::kFloat)};
  for (at::Tensor piece = reader.next(); piece.defined(); piece = reader.next()) pieces.push_back(piece);
  return {at::cat(pieces, 1)[0], rate, reader.resampler(), reader.damaged_packets()};
}

void ffmpeg(const std::string& arguments) {
  const std::string command = "ffmpeg -nostdin -loglevel error -y " + arguments;
  if (std::system(command.c_str()) != 0) ADD_FAILURE() << command;
}

void write_sound(const std::string& path, uint32_t rate, double seconds) {
  const auto samples = int64_t(std::llround(seconds * rate));
  at::Tensor time = at::arange(samples, at::kDouble) / double(rate);
  at::Tensor wave = ((time * 1400).sin() * (time * 7).sin() * 12000).to(at::kShort).contiguous();
  std::string bytes = "RIFF....WAVEfmt ";
  auto put = [&](auto value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof value); };
  put(uint32_t(16)), put(uint16_t(1)), put(uint16_t(1)), put(rate), put(rate * 2), put(uint16_t(2)), put(uint16_t(16));
  bytes += "data";
  put(uint32_t(samples * 2));
  bytes.append(reinterpret_cast<const char*>(wave.data_ptr()), size_t(samples) * 2);
  const auto rest = uint32_t(bytes.size() - 8);
  std::memcpy(bytes.data() + 4, &rest, sizeof rest);
  write_bytes(path, bytes);
}

void expect_picture_refused(const std::string& path, const std::string& word) {
  try {
    read_image({path, "image_url"});
    ADD_FAILURE() << path << " was read";
  } catch (const InvalidRequest& error) {
    EXPECT_EQ(error.errors.at(0).field, "image_url");
    EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
  }
}

std::vector<std::string> picture_notes(const std::string& path) {
  Notes notes;
  read_image({path, "image_url"}, &notes);
  std::vector<std::string> texts;
  for (const Note& note : notes.list()) texts.push_back(note.text);
  return texts;
}

}  // namespace wan
