#include "engine/compare/compare.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/compare/fidelity.h"
#include "engine/compare/frame_source.h"
#include "engine/request/interpolation.h"
#include "engine/request/params.h"
#include "models/files/error.h"
#include "models/lpips/model.h"

namespace wan {
namespace {

constexpr double kSameRate = .01;  // rates that differ by less are stated inexactly, or meant to differ

std::string size_text(const VideoInfo& info) {
  return std::to_string(info.width) + "x" + std::to_string(info.height);
}

std::string frames_text(int64_t frames) {
  return std::to_string(frames) + (frames == 1 ? " frame" : " frames");
}

std::string number_of(double value) {
  return number_text(std::round(value * 1000) / 1000);
}

void check_sizes(const MediaFile& a, const VideoInfo& of_a, const MediaFile& b, const VideoInfo& of_b,
                 const lpips::Model* lpips) {
  if (of_a.width != of_b.width || of_a.height != of_b.height)
    throw InvalidRequest(b.field, "must have the size of " + a.field + ", " + size_text(of_a) + ", has " +
                                      size_text(of_b) + "; scale one of them first: ffmpeg -i " + b.shown() +
                                      " -vf scale=" + std::to_string(of_a.width) + ":" + std::to_string(of_a.height) +
                                      ",setsar=1 -c:v ffv1 scaled.mkv");
  const int64_t side = std::min(of_a.width, of_a.height);
  if (side < kSsimWindow)
    throw InvalidRequest(a.field, "must have sides of at least " + std::to_string(kSsimWindow) +
                                      " pixels, as the window of SSIM has, has " + size_text(of_a) +
                                      "; enlarge both first");
  if (!lpips) return;
  if (const int64_t least = lpips::least_side(lpips->backbone()); side < least)
    throw InvalidRequest("lpips", std::string("of ") + lpips::name(lpips->backbone()) + " takes sides of at least " +
                                      std::to_string(least) + " pixels, " + a.field + " has " + size_text(of_a) +
                                      "; leave --lpips out");
}

/// Frames are compared by their numbers, so their times must go together.
void check_rates(const MediaFile& a, const FrameSource& of_a, const MediaFile& b, const FrameSource& of_b,
                 Notes& notes) {
  const Rational first = of_a.info().rate, second = of_b.info().rate;
  if (of_a.is_picture() || of_b.is_picture() || first.numerator <= 0 || second.numerator <= 0 || first == second)
    return;
  const std::string rates = number_of(first.value()) + " frames a second, has " + number_of(second.value());
  if (std::abs(first.value() - second.value()) > kSameRate * std::max(first.value(), second.value())) {
    // Each slot of the slower one gets the frame of the faster one that stands at its time, or the last before it. The
    // first filter undoes the rounding of times to milliseconds in Matroska, which would give another frame.
    const bool is_faster = first.value() > second.value();
    const std::string from = rate_text(is_faster ? first : second), to = rate_text(is_faster ? second : first);
    throw InvalidRequest(b.field, "must have the rate of " + a.field + ", " + rates +
                                      "; bring the faster one to the rate of the other first: ffmpeg -i " +
                                      (is_faster ? a : b).shown() + " -vf fps=" + from + ",fps=" + to +
                                      ":round=up -c:v ffv1 other.mkv");
  }
  notes.add({b.field, "its rate is stated as " + number_of(second.value()) + " frames a second, that of " + a.field +
                          " as " + number_of(first.value()) +
                          ": frames are compared by their numbers, at the times of " + a.field});
}

/// Reads to the end; the number of frames.
int64_t rest_of(FrameSource& source, Progress& progress) {
  int64_t frames = 0;
  while (source.next()) {
    progress.check();
    ++frames;
  }
  return frames;
}

/// What is measured of frames as they come.
class Measuring {
 public:
  Measuring(const lpips::Model* lpips, Comparison& result) : lpips_(lpips), result_(result) {
    result.measures = {{.name = "psnr", .shown = "PSNR", .unit = "dB"}, {.name = "ssim", .shown = "SSIM", .unit = ""}};
    if (lpips)
      result.measures.push_back({.name = "lpips",
                                 .shown = std::string("LPIPS (") + lpips::name(lpips->backbone()) + ")",
                                 .unit = "",
                                 .worse = Worse::Higher});
  }

  void add(const VideoFrame& a, const VideoFrame& b) {
    const double error = mean_squared_error(a.rgb, b.rgb);
    const bool equal = error == 0;
    result_.times.push_back(a.time.value());
    sum_ += error;
    result_.equal_frames += equal;
    result_.measures[0].values.push_back(psnr(error));
    result_.measures[1].values.push_back(equal ? 1 : ssim(a.rgb, b.rgb));
    if (lpips_) result_.measures[2].values.push_back(equal ? 0 : distance(a.rgb, b.rgb));
    result_.mean_squared_error = sum_ / double(result_.times.size());
  }

 private:
  double distance(const at::Tensor& a, const at::Tensor& b) const {
    const double value = lpips_->distance(a, b);
    if (!std::isfinite(value))
      throw ModelError("lpips", "must give a number, gives none of frame " + std::to_string(result_.times.size() - 1) +
                                    ": the weights are no trained ones; take others, or leave --lpips out");
    return value;
  }

  const lpips::Model* lpips_;
  Comparison& result_;
  double sum_ = 0;
};

void note_counts(const MediaFile& a, int64_t of_a, const MediaFile& b, int64_t of_b, Notes& notes) {
  if (of_a == of_b) return;
  const bool longer = of_b > of_a;
  const int64_t common = std::min(of_a, of_b);
  const std::string first = common == 1 ? "is compared" : std::to_string(common) + " are compared";
  notes.add({longer ? b.field : a.field, "has " + frames_text(std::max(of_a, of_b)) + ", " +
                                             (longer ? a.field : b.field) + " " + std::to_string(common) +
                                             ": the first " + first});
}

/// The first frame whose times in both files lie apart by more than half of a frame's time.
struct Apart {
  int64_t frame = -1;
  double a = 0, b = 0;

  void add(int64_t number, const VideoFrame& of_a, const VideoFrame& of_b) {
    const double shown = of_a.until.value() - of_a.time.value();
    if (frame >= 0 || std::abs(of_a.time.value() - of_b.time.value()) <= .5 * shown + 1e-9) return;
    frame = number, a = of_a.time.value(), b = of_b.time.value();
  }
  void tell(const MediaFile& of_a, const MediaFile& of_b, Notes& notes) const {
    if (frame < 0) return;
    notes.add({of_b.field, "its frames stand at other times than those of " + of_a.field + ", first frame " +
                               std::to_string(frame) + " at " + number_of(b) + " s in place of " + number_of(a) +
                               " s: they are compared by their numbers"});
  }
};

}  // namespace

Comparison compare_videos(const MediaFile& a, const MediaFile& b, const lpips::Model* lpips, const Log& log,
                          Progress& progress) {
  FrameSource of_a(a), of_b(b);
  Comparison result;
  Notes notes(log);
  check_sizes(a, of_a.info(), b, of_b.info(), lpips);
  check_rates(a, of_a, b, of_b, notes);
  result.a = {shown_name(a.path), of_a.info(), of_a.is_picture()};
  result.b = {shown_name(b.path), of_b.info(), of_b.is_picture()};
  const int64_t stated = std::min(of_a.info().frames, of_b.info().frames);

  Measuring measuring(lpips, result);
  Apart apart;
  int64_t compared = 0, more_a = 0, more_b = 0;
  for (;;) {
    progress.at({Stage::Compare, compared, std::max(stated, compared), "", ""});
    const std::optional<VideoFrame> first = of_a.next(), second = of_b.next();
    if (!first || !second) {
      more_a = first ? 1 + rest_of(of_a, progress) : 0;
      more_b = second ? 1 + rest_of(of_b, progress) : 0;
      break;
    }
    measuring.add(*first, *second);
    apart.add(compared++, *first, *second);
  }
  progress.at({Stage::Compare, compared, compared, "", ""});
  result.a.info.frames = compared + more_a, result.b.info.frames = compared + more_b;
  of_a.tell(notes);
  of_b.tell(notes);
  note_counts(a, compared + more_a, b, compared + more_b, notes);
  if (result.a.is_picture == result.b.is_picture) apart.tell(a, b, notes);
  result.notes = notes.list();
  return result;
}

}  // namespace wan
