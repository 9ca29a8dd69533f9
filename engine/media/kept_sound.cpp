#include "engine/media/kept_sound.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/media/aac_track.h"
#include "engine/media/audio_reader.h"
#include "engine/media/input.h"
#include "engine/media/kept_track.h"

namespace wan {
namespace {

constexpr const char* kWholeAgain = "download or export it again, or leave it out with --no-keep-audio";
constexpr double kNoticed = 0.1;         // seconds
constexpr int kLookedAt = 500;           // packets of ADTS: ten seconds
constexpr int kLeastMp3Rate = 16'000;    // MPEG-2.5 has no place in MP4
constexpr int kLeastOpusExtradata = 19;  // OpusHead
constexpr const char* kOdd = "it is a kind of AAC that few players take";

/// A codec as users call it: "FLAC", "PCM", "WMA", "AC-3".
std::string called(AVCodecID codec) {
  std::string name = avcodec_get_name(codec);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
  if (name.starts_with("PCM_")) return "PCM";
  if (name.starts_with("ADPCM_")) return "ADPCM";
  if (name.starts_with("WMA")) return "WMA";
  if (name == "AC3" || name == "EAC3") return name == "AC3" ? "AC-3" : "E-AC-3";
  return name == "VORBIS" || name == "OPUS" ? name[0] + std::string(name == "OPUS" ? "pus" : "orbis") : name;
}

const char* container_name(Container into) {
  return into == Container::QuickTime ? "MOV" : "MP4";
}

bool is_adts(const AVPacket& packet) {
  return packet.size > 7 && packet.data[0] == 0xFF && (packet.data[1] & 0xF6) == 0xF0;
}

/// ADTS has its form in the header of each packet: profile, rate and channels are to stay. One frame to a packet, since
/// that is what MP4 can hold.
bool keeps_its_form(av::Input& input, av::Packet& packet) {
  auto form = [](const AVPacket& p) { return std::pair(p.data[2] & 0xFD, p.data[3] & 0xC0); };
  const auto first = form(*packet);
  const bool channels_told = ((packet->data[2] & 1) << 2 | packet->data[3] >> 6) != 0;
  int looked_at = 0;
  do {
    if (!is_adts(*packet) || form(*packet) != first || (packet->data[6] & 3) != 0) return false;
  } while (++looked_at < kLookedAt && input.read(*packet));
  return channels_told;
}

std::string odd_aac(av::Input& input, av::Packet& packet) {
  const AVCodecParameters& sound = *input.stream().codecpar;
  if (sound.profile == FF_PROFILE_AAC_MAIN || sound.profile == FF_PROFILE_AAC_SSR ||
      sound.profile == FF_PROFILE_AAC_LTP || !av::is_aac_rate(sound.sample_rate))
    return kOdd;
  if (sound.extradata_size >= 2 && !is_adts(*packet)) return "";
  if (!is_adts(*packet)) return kOdd;
  return keeps_its_form(input, packet) ? "" : "its AAC changes its form";
}

/// Why players would not take it as it is; empty where they do. `packet` is the first.
std::string why_not(av::Input& input, av::Packet& packet, Container into) {
  const AVCodecParameters& sound = *input.stream().codecpar;
  const std::string name = called(sound.codec_id), file = container_name(into);
  switch (sound.codec_id) {
    case AV_CODEC_ID_AAC:
      return odd_aac(input, packet);
    case AV_CODEC_ID_MP3:
      return sound.sample_rate >= kLeastMp3Rate
                 ? ""
                 : "it is MP3 of " + std::to_string(sound.sample_rate) + " Hz, which " + file + " has no place for";
    case AV_CODEC_ID_OPUS:
      if (into == Container::QuickTime) return "it is Opus, which MOV has no place for";
      return sound.extradata_size >= kLeastOpusExtradata ? "" : "its Opus has no header";
    case AV_CODEC_ID_NONE:
      return "it is of an unknown kind";
    default:
      return "it is " + name + ", which many players do not play in " + file;
  }
}

KeptSound keeping_of(av::Input& input, Container into) {
  av::Packet packet = av::new_packet();
  if (!input.read(*packet)) return {Keeping::Nothing, "its track is empty"};
  const std::string why = why_not(input, packet, into);
  return {why.empty() ? Keeping::Copied : Keeping::Encoded, why};
}

/// Notes on what of the sound is lost or missing up to `seconds`: it is kept as it is. What cannot be decoded at all is told
/// elsewhere.
void note_damage(const MediaFile& video, double seconds, Notes& notes) try {
  AudioReader reader(video, Mix::Stereo);
  double read = 0;
  while (read < seconds) {
    const at::Tensor piece = reader.next();
    if (!piece.defined()) break;
    read += double(piece.size(1)) / double(reader.rate());
  }
  if (const int64_t packets = reader.damaged_packets(); packets > 0)
    notes.add({"keep_audio",
               "the sound is damaged: " + std::to_string(packets) +
                   (packets == 1 ? " packet cannot" : " packets cannot") + " be decoded",
               kWholeAgain});
  if (reader.filled_seconds() > kNoticed)
    notes.add(
        {"keep_audio", "the sound has holes: " + decimals(reader.filled_seconds()) + " s are silent", kWholeAgain});
} catch (const InvalidRequest&) {
}

/// How much of the sound is heard after `seconds`, the first picture being at 0.
double heard_after(const MediaFile& video, double seconds) {
  const double origin = av::first_picture(video);
  av::Input input({video, "a video with sound"}, AVMEDIA_TYPE_AUDIO);
  const double unit = av_q2d(input.stream().time_base);
  av::Packet packet = av::new_packet();
  double heard = 0, last = 0;
  while (input.read(*packet)) {
    const int64_t stamp = packet->pts != AV_NOPTS_VALUE ? packet->pts : packet->dts;
    if (stamp == AV_NOPTS_VALUE || packet->duration <= 0) continue;
    const double length = double(packet->duration) * unit, end = double(stamp) * unit - origin + length;
    heard += std::clamp(end - seconds, 0.0, length);
    last = std::max(last, end);
  }
  // A damaged time stamp may lie anywhere, so the packets' own lengths are a bound; clocks of milliseconds round these.
  constexpr double kRounded = 1.05;
  return std::min(last - seconds, kRounded * heard);
}

}  // namespace

KeptSound kept_sound(const MediaFile& video, Container into) {
  av::Input input({video, "a video with sound"}, AVMEDIA_TYPE_AUDIO);
  return keeping_of(input, into);
}

void check_kept_sound(const MediaFile& video, Container into, double seconds, Notes& notes) {
  av::Input input({video, "a video with sound"}, AVMEDIA_TYPE_AUDIO);
  note_tracks(input.tracks(), {"keep_audio", "video", "sound", "kept"}, notes);
  const KeptSound sound = keeping_of(input, into);
  if (sound.keeping != Keeping::Nothing) note_damage(video, seconds, notes);
  if (sound.keeping == Keeping::Copied) return;
  if (sound.keeping == Keeping::Nothing)
    return notes.add({"keep_audio", "the video gets no sound: the track of " + video.shown() + " is empty"});
  std::string mixed;
  try {
    const AudioReader reader(video, Mix::Stereo);
    if (reader.file_channels() > reader.channels())
      mixed = ", its " + std::to_string(reader.file_channels()) + " channels mixed down to 2";
  } catch (const InvalidRequest&) {
    throw InvalidRequest("keep_audio", "must be off where the sound cannot be decoded, and that of " + video.shown() +
                                           " cannot: " + sound.why + "; --no-keep-audio renders without it");
  }
  notes.add({"keep_audio", "the sound is encoded again, as AAC" + mixed + ": " + sound.why,
             "--no-keep-audio leaves the sound out"});
}

void note_longer_sound(const MediaFile& video, double seconds, double rate, Notes& notes, const std::string& called) {
  const double lost = heard_after(video, seconds);
  if (lost <= std::max(kNoticed, 2 / rate)) return;
  notes.add({"keep_audio",
             decimals(lost) + " s of the sound are left out: the picture ends after " + decimals(seconds) + " s",
             "ffmpeg -i " + called + " -vf tpad=stop_mode=clone:stop_duration=" + decimals(lost) +
                 " -c:a copy OTHER.mkv holds the last picture for as long"});
}

}  // namespace wan
