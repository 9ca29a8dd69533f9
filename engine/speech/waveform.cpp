#include "engine/speech/waveform.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <vector>

#include "engine/base/error.h"
#include "engine/media/audio_reader.h"
#include "models/files/error.h"

namespace wan {
namespace {

/// Samples for which mean and variance are gathered at a time: a minute.
constexpr int64_t kPiece = 60 * kSpeechRate;
/// Samples that are kept: ten minutes, 38 MB.
constexpr int64_t kKept = 10 * kPiece;
/// One sample more than the encoder sees at once: 6,000 frames of 400 samples, 320 apart, and the rest of a frame.
constexpr int64_t kLongerThanAWindow = kWholeFileFrames * 320 + 400;

/// A walk through a file that can look back as far as it has not let go.
class Walk {
 public:
  explicit Walk(MediaFile file) : file_(std::move(file)) {}

  Tensor read(int64_t start, int64_t count) {
    if (!reader_ || start < held_from_) {
      reader_ = std::make_unique<AudioReader>(file_, Mix::Mono, kSpeechRate);
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

/// The first walk: everything is looked at once.
class FirstWalk {
 public:
  FirstWalk(const MediaFile& file, int64_t most, const SoundRead& asked)
      : reader_(file, Mix::Mono, kSpeechRate), file_(file), most_(most), asked_(asked) {}

  /// At most `most` samples; whether the file ends with them.
  bool read() {
    for (Tensor piece = reader_.next(); piece.defined(); piece = reader_.next()) {
      const int64_t room = most_ - samples_;
      samples_ += std::min(room, piece.size(1));
      waiting_.push_back(piece[0].narrow(0, 0, std::min(room, piece.size(1))));
      held_ += waiting_.back().size(0);
      while (held_ >= kPiece) add(kPiece);
      if (room < piece.size(1)) {
        add(held_);
        return false;
      }
    }
    add(held_);
    return true;
  }

  int64_t samples() const { return samples_; }
  const AudioReader& reader() const { return reader_; }
  const SampleStatistics& statistics() const { return statistics_; }
  /// All that was read; undefined where it is more than is kept.
  Tensor kept() const { return samples_ <= kKept && samples_ > 0 ? at::cat(kept_) : Tensor(); }

 private:
  void add(int64_t count) {
    if (count == 0) return;
    const Tensor all = at::cat(waiting_), piece = all.narrow(0, 0, count);
    waiting_ = {all.narrow(0, count, held_ - count).clone()};
    held_ -= count;
    if (!piece.isfinite().all().item<bool>())
      throw InvalidRequest(file_.field,
                           "must hold numbers only, and has NaN or Inf among its samples; convert it to "
                           "whole numbers of 16 or 24 bits");
    statistics_.add(piece);
    if (samples_ <= kKept) {
      kept_.push_back(piece.clone());
    } else {
      kept_.clear();
    }
    if (asked_ && count == kPiece) asked_(double(samples_) / kSpeechRate, reader_.stated_seconds());
  }

  AudioReader reader_;
  const MediaFile& file_;
  const int64_t most_;
  const SoundRead& asked_;
  SampleStatistics statistics_;
  std::vector<Tensor> waiting_, kept_;
  int64_t samples_ = 0, held_ = 0;  // read; of them in waiting_
};

}  // namespace

Waveform open_waveform(const MediaFile& file, std::optional<double> needed, const SoundRead& asked) {
  const int64_t shown =
      needed ? std::llround(*needed * kSpeechRate) + kWindowContext * 320 : kMostAudioSeconds * kSpeechRate + kPiece;
  FirstWalk first(file, std::max(shown, kLongerThanAWindow), asked);
  const bool whole = first.read();
  const AudioReader& reader = first.reader();
  const double read = double(first.samples()) / kSpeechRate, stated = reader.stated_seconds();
  Waveform wave{.samples = whole ? first.samples() : std::min(first.samples(), shown),
                .read = {},
                .statistics = first.statistics(),
                .damaged_packets = reader.damaged_packets(),
                .stated_seconds = whole ? stated : 0,
                .filled_seconds = reader.filled_seconds(),
                .loudness = reader.loudness(),
                .missing = whole ? reader.missing_end() : "",
                .tracks = reader.tracks(),
                .whole_seconds = whole           ? read
                                 : stated > read ? stated
                                                 : 0};
  if (const Tensor kept = first.kept(); kept.defined()) {
    wave.read = [kept](int64_t start, int64_t count) { return kept.narrow(0, start, count); };
  } else {
    auto walk = std::make_shared<Walk>(file);
    wave.read = [walk](int64_t start, int64_t count) { return walk->read(start, count); };
  }
  return wave;
}

}  // namespace wan
