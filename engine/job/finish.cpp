#include "engine/job/finish.h"

#include <ATen/ATen.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/frames/contact_sheet.h"
#include "engine/frames/steady.h"
#include "engine/frames/writing_thread.h"
#include "engine/job/input_identity.h"
#include "engine/job/preflight.h"
#include "engine/job/record.h"
#include "engine/media/container.h"
#include "engine/media/frame_pace.h"
#include "engine/media/kept_sound.h"
#include "engine/media/metadata.h"
#include "engine/media/png.h"
#include "engine/media/video_reader.h"
#include "engine/request/version.h"
#include "models/files/error.h"

namespace wan {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kField = "IN";                 // as the command names it
constexpr int64_t kSmallest = 16, kLargest = 16384;  // sides that VideoWriter takes
constexpr int64_t kMostTerm = 1'000'000;             // of a rate, the same
constexpr double kBytesPerPixel = 0.25;              // of a video, as preflight.cpp counts
constexpr size_t kNotesRoom = 64 << 10;              // of the metadata, for notes that come while frames are read

/// The rate that the file states, or that its frames have where that is another one; of neither 0.
Rational true_rate(const MediaFile& input, const VideoInfo& info, Notes& notes) {
  constexpr double kEqual = 0.02;
  const Rational stated = info.rate.reduced();
  const std::optional<Rational> pace = frame_pace(input);
  if (!pace || (stated.numerator > 0 && std::abs(pace->value() / stated.value() - 1) <= kEqual)) return stated;
  notes.add({kField, "it states " + (stated.numerator > 0 ? decimals(stated.value()) : "no number of") +
                         " frames a second, and its frames follow each other at " + decimals(pace->value()) +
                         ": that rate is taken"});
  return *pace;
}

/// In terms that an encoder takes: else to a thousandth of a frame a second, of high rates to fewer decimals.
Rational rate_of(const MediaFile& input, const VideoInfo& info, const Interpolation& how, Notes& notes) {
  const Rational rate = true_rate(input, info, notes);
  if (rate.numerator <= 0)
    throw InvalidRequest(kField,
                         "must say how many frames it has a second, says nothing; convert it to a constant rate");
  if (rate.numerator * (how.between + 1) <= kMostTerm && rate.denominator <= kMostTerm) return rate;
  for (int64_t denominator = 1000; denominator >= 1; denominator /= 10) {
    const Rational near = Rational{std::llround(rate.value() * double(denominator)), denominator}.reduced();
    if (near.numerator > 0 && near.numerator * (how.between + 1) <= kMostTerm) return near;
  }
  throw InvalidRequest(kField, "must have a rate whose product with the frames drawn for each is at most " +
                                   std::to_string(kMostTerm) + ", has " + decimals(rate.value()) +
                                   " frames a second; convert it to a constant rate");
}

/// What was done, as the file says it.
Json told(const Request& request, const FrameChain& chain, Rational rate, int64_t height, int64_t width,
          Metadata level) {
  const bool full = level == Metadata::Full;
  Json json = {{"wan_infer", version()},
               {"device", chain.placement.device.is_cuda() ? "cuda" : "cpu"},
               {"chain", chain_json(chain.how, {0, rate}, /*known=*/false, details_of(chain, height, width))}};
  json["chain"][0]["step"] = "input";
  ModelParts parts;
  parts.interpolator = chain.interpolator;
  json["files"] = Json::array();
  for (const FileIdentity& file : identities(parts)) {
    json["files"].push_back({{"size", file.size}, {"digest", file.digest}});
    if (full) json["files"].back()["name"] = file.name;
  }
  for (const auto& [field, input] : identify_inputs(request)) {
    json["input"] = {{"size", input.size}, {"sha256", input.sha256}};
    if (full) json["input"]["name"] = input.name;
  }
  return json;
}

/// What was finished before, at the minimal level: no names, and no notes, which may quote them.
Json minimal(Json done) {
  for (Json& one : done) {
    if (!one.is_object()) continue;
    one.erase("notes");
    if (const auto input = one.find("input"); input != one.end() && input->is_object()) input->erase("name");
    if (const auto files = one.find("files"); files != one.end() && files->is_array())
      for (Json& file : *files)
        if (file.is_object()) file.erase("name");
  }
  return done;
}

/// A record as short as it may be: written with --metadata minimal.
bool is_minimal(const Json& request) {
  return request.is_object() && !request.contains("prompt") && request.value("metadata", Json()) == "minimal";
}

/// A record at the minimal level. Of one that cannot be read, as of a newer version's, what was done and what a checker
/// said of it alone.
Json minimal_record(const std::string& text, const Json& json) {
  try {
    Record record = parse_record(text, kField);
    record.request.metadata = "minimal";
    return Json::parse(to_text(record, Metadata::Minimal));
  } catch (const InvalidRequest&) {
    Json left = {{"wan_infer", json["wan_infer"]}};
    try {
      if (const auto safety = json.find("safety"); safety != json.end())
        left["safety"] = to_json(read_safety(nlohmann::json(*safety)), /*with_words=*/false);
    } catch (const nlohmann::json::exception&) {  // no verdict of this program's form
    }
    return left;
  }
}

/// What the input says of itself, where it is wan-infer's; an empty object else.
Json carried(const std::string& path, Metadata level) {
  try {
    const std::string text = read_metadata({path, kField});
    Json json = Json::parse(text);
    if (!json.is_object() || !json.contains("wan_infer")) return Json::object();
    if (level == Metadata::Full) return json;
    const Json done = minimal(json.value("finish", Json::array()));
    if (json.contains("request") && !is_minimal(json["request"])) json = minimal_record(text, json);
    if (!done.empty()) json["finish"] = done;
    return json;
  } catch (const InvalidRequest&) {
    return Json::object();
  }
}

/// What the file is to say but for the notes; null where it says nothing.
Json metadata(const Request& request, const FrameChain& chain, Rational rate, int64_t height, int64_t width) {
  const Metadata level = metadata_of(request);
  if (level == Metadata::None) return nullptr;
  Json json = carried(request.video_url, level);
  if (!json.contains("wan_infer")) json["wan_infer"] = version();
  if (!json["finish"].is_array()) json["finish"] = Json::array();
  json["finish"].push_back(told(request, chain, rate, height, width, level));
  return json;
}

std::string text_of(const Json& json) {
  return json.is_null() ? "" : json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void check_metadata(const Json& json) {
  if (text_of(json).size() + kNotesRoom > kMostMetadata)
    throw InvalidRequest("metadata", "must be at most 1 MB with that of the input; --metadata none leaves it out");
}

/// The text with the notes, which may quote names, beside what was done.
std::string with_notes(Json json, const Request& request, const Notes& notes) {
  if (!json.is_null() && metadata_of(request) == Metadata::Full && !notes.list().empty())
    json["finish"].back()["notes"] = to_json(notes.list());
  return text_of(json);
}

/// An encoder's colours have half the rows and columns.
at::Tensor even(const at::Tensor& rgb, int64_t height, int64_t width) {
  return rgb.narrow(0, 0, height).narrow(1, 0, width).contiguous();
}

void check_size(const VideoInfo& info) {
  if (info.width >= kSmallest && info.height >= kSmallest && info.width <= kLargest && info.height <= kLargest) return;
  throw InvalidRequest(kField, "must have sides from 16 to 16384 pixels, has " + std::to_string(info.width) + "x" +
                                   std::to_string(info.height));
}

/// Notes what becomes of the size, the times and the sound.
void note_size(const VideoInfo& info, int64_t height, int64_t width, Notes& notes) {
  if (info.width == width && info.height == height) return;
  notes.add({kField, std::to_string(info.width) + "x" + std::to_string(info.height) + " becomes " +
                         std::to_string(width) + "x" + std::to_string(height) +
                         ": an encoder takes even sides, and the last row or column is left out"});
}

void note_times(const SteadyFrames& steady, Rational rate, Notes& notes) {
  if (steady.dropped() == 0 && steady.repeated() == 0) return;
  notes.add({kField, "its frames come at times that vary: at " + rate_text(rate) + " a second " +
                         std::to_string(steady.repeated()) + " are repeated and " + std::to_string(steady.dropped()) +
                         " left out"});
}

}  // namespace

void finish_video(const Request& request, const std::string& out, const FrameChain& chain, const OutputOptions& options,
                  const Log& log, Progress& progress) {
  const MediaFile input{request.video_url, kField};
  VideoReader reader(input, {.rate = {}, .deinterlace = request.deinterlace});
  VideoInfo info = reader.info();
  check_size(info);
  const int64_t height = info.height / 2 * 2, width = info.width / 2 * 2;
  Notes notes(log);
  const Rational rate = rate_of(input, info, chain.how, notes);
  if (!(rate == info.rate)) info.frames = std::llround(info.seconds * rate.value());
  note_size(info, height, width, notes);
  const bool sound = request.keep_audio && info.has_audio;
  if (sound) check_kept_sound(input, container_of(out), /*seconds=*/0, notes);
  note_chain(request, sound, notes, rate);
  const Json said = metadata(request, chain, rate, height, width);
  check_metadata(said);
  check_space(uint64_t(double(chain.how.frames(info.frames) * height * width) * kBytesPerPixel), out);
  const VideoFormat format = {.height = height,
                              .width = width,
                              .rate = chain.how.rate(rate),
                              .quality = request.video_quality,
                              .write_mode = request.video_write_mode,
                              .metadata = text_of(said),
                              .audio = std::nullopt,
                              .audio_from = sound ? input.path : ""};

  // In the order in which they need each other: the chain's thread uses all that is above it.
  WritingThread writer(out, format);
  ContactSheet sheet(chain.how.frames(info.frames));
  std::optional<FrameStream> stream;
  RunningChain running(chain, info.frames, height, width, log);
  std::vector<FrameStep*> steps = running.steps();
  if (!options.contact_sheet.empty()) steps.push_back(&sheet);
  int64_t written = 0;
  stream.emplace(
      std::move(steps),
      [&](const Frames& frames) {
        writer.write(frames.rgb);
        written += frames.rgb.size(0);
      },
      rate);
  SteadyFrames steady(rate);
  const auto push = [&](const at::Tensor& rgb) { stream->push(rgb.unsqueeze(0)); };
  Rational until;
  int64_t read = 0;
  while (std::optional<VideoFrame> frame = reader.next()) {
    progress.at({Stage::Write, read, std::max(info.frames, read + 1), "", ""});
    steady.take(even(frame->rgb, height, width), frame->time, push);
    until = frame->until;
    ++read;
  }
  steady.end(until, push);
  stream->end();
  running.tell(log);
  reader.tell(notes);
  note_times(steady, rate, notes);
  if (chain.how.is_on() && read == 1)
    notes.add({"num_interpolated_frames", "nothing is drawn: the video has one frame, and there is none after it"});
  if (sound) note_longer_sound(input, FrameRun{written, format.rate}.seconds(), rate.value(), notes, kField);
  if (!said.is_null()) writer.tell(with_notes(said, request, notes));
  progress.at({Stage::Write, read, read, "", ""});  // the last: once the file is in its place, the work is done
  writer.finish();
  if (!options.contact_sheet.empty()) write_png(options.contact_sheet, sheet.image());
  log("done", {{"out", shown_name(out)},
               {"frames_read", read},
               {"frames", written},
               {"rate", rate_text(format.rate)},
               {"seconds", FrameRun{written, format.rate}.seconds()}});
}

}  // namespace wan
