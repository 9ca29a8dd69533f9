#include "engine/speech/waveform.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <memory>
#include <stdexcept>

#include "engine/media/audio_reader.h"
#include "models/files/error.h"

namespace wan {
namespace {

constexpr int64_t kRate = 16000;

/// A walk through a file that can look back as far as it has not let go.
class Walk {
 public:
  explicit Walk(MediaFile file) : file_(std::move(file)) {}

  Tensor read(int64_t start, int64_t count) {
    if (!reader_ || start < held_from_) {
      reader_ = std::make_unique<AudioReader>(file_, Mix::Mono, kRate);
      held_ = at::empty({0}, at::kFloat);
      held_from_ = 0;
    }
    std::vector<Tensor> pieces = {held_};
    int64_t end = held_from_ + held_.size(0);
    while (end < start + count) {
      Tensor piece = reader_->next();
      if (!piece.defined())
        throw std::runtime_error("[" + file_.field + "] " + file_.shown() + " became shorter while it was read");
      end += piece.size(1);
      pieces.push_back(piece[0]);
      if (end <= start) pieces = {pieces.back()};  // wholly before what is wanted
    }
    Tensor joined = at::cat(pieces);
    const int64_t from = end - joined.size(0);
    held_from_ = start;
    held_ = joined.narrow(0, start - from, end - start).clone();
    return held_.narrow(0, 0, count);
  }

 private:
  MediaFile file_;
  std::unique_ptr<AudioReader> reader_;
  Tensor held_;  // from the start of the last read on
  int64_t held_from_ = 0;
};

}  // namespace

Waveform open_waveform(const MediaFile& file) {
  AudioReader reader(file, Mix::Mono, kRate);
  int64_t samples = 0;
  while (true) {
    const Tensor piece = reader.next();
    if (!piece.defined()) break;
    samples += piece.size(1);
  }
  auto walk = std::make_shared<Walk>(file);
  return {.samples = samples,
          .read = [walk](int64_t start, int64_t count) { return walk->read(start, count); },
          .damaged_packets = reader.damaged_packets(),
          .stated_seconds = reader.stated_seconds()};
}

}  // namespace wan
