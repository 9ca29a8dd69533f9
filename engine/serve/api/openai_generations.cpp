// Calls that answer when the video is there: /v1/videos/generations, in the form of the load generator of MLPerf
// (mlcommons/endpoints, videogen), and /v1/videos/sync, which other servers of the model have.
#include <openssl/evp.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "engine/base/text.h"
#include "engine/serve/api/answers.h"
#include "engine/serve/api/fal_answers.h"
#include "engine/serve/api/openai.h"
#include "engine/serve/api/openai_body.h"
#include "engine/serve/api/openai_error.h"
#include "engine/serve/net/text.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr Access::Form kForm = Access::Form::OpenAi;
constexpr uint64_t kMostInline = uint64_t(64) << 20;  // bytes of a video within JSON

/// In which form the video is answered.
enum class Reply { File, Bytes, Path };

/// What response_format says; a file, or of JSON its bytes, where it says nothing.
Reply reply_of(json& body, bool is_sync, const Settings& settings, ErrorList& errors) {
  const json sent = taken(body, "response_format");
  if (sent.is_null() || sent == "") return is_sync ? Reply::File : Reply::Bytes;
  if (sent == "video_path" && settings.answer_paths) return Reply::Path;
  if (sent == "video_path")
    add_error(errors, "response_format", "value_error",
              "Value error, 'video_path' is not answered by this server; send 'video_bytes', or have its operator "
              "start it with --answer-paths",
              sent);
  else if (sent != "video_bytes")
    add_error(errors, "response_format", "literal_error", "Input should be 'video_bytes' or 'video_path'", sent);
  return Reply::Bytes;
}

/// Whether a text names a file of a folder and leads out of none.
bool is_plain_name(const std::string& text) {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  return !text.empty() && text.size() <= 200 && text[0] != '.' && all_are(text, kLetters);
}

/// Latents to begin with. No engine of this build begins with given ones: what is asked for is refused, not left out.
void check_latents(json& body, const Settings& settings, ErrorList& errors) {
  const json sent = taken(body, "latent_path");
  if (sent.is_null() || sent == "") return;
  std::string wrong;
  if (settings.latents_dir.empty())
    wrong = "is not taken: the server was started without --latents-dir; leave latent_path out";
  else if (!sent.is_string() || !is_plain_name(sent.get<std::string>()))
    wrong = "must be the plain name of a file in the folder of --latents-dir, without a path, got " + shown(sent);
  else
    wrong = "cannot be obeyed yet: this build draws its first noise from seed; leave latent_path out";
  add_error(errors, "latent_path", "value_error", "Value error, " + wrong, sent);
}

/// The bytes in base64, with padding and in one line.
std::string base64(const std::string& bytes) {
  constexpr size_t kPiece = size_t(3) << 20;  // a multiple of three: pieces then join without padding between them
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4 + 1);
  std::string piece((kPiece + 2) / 3 * 4 + 1, '\0');
  for (size_t at = 0; at < bytes.size(); at += kPiece) {
    const size_t count = std::min(kPiece, bytes.size() - at);
    const int letters = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(piece.data()),
                                        reinterpret_cast<const unsigned char*>(bytes.data()) + at, int(count));
    text.append(piece, 0, size_t(letters));
  }
  return text;
}

/// The file in base64; nothing where it is longer than what goes into JSON. Throws std::system_error. Blocks.
std::optional<std::string> read_base64(const fs::path& path) {
  if (fs::file_size(path) > kMostInline) return std::nullopt;
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file) throw std::system_error(EIO, std::generic_category(), path.filename().string());
  return base64(bytes);
}

/// {"video_id", "video_bytes"} or {"video_id", "video_path"}: the load generator takes nothing beside these.
ordered_json generated(const std::string& id, const char* name, std::string value) {
  ordered_json answer;
  answer["video_id"] = id;
  answer[name] = std::move(value);
  return answer;
}

Awaitable<Answer> answer_with(ApiContext& context, Exchange& exchange, const Job& job, Reply reply) {
  const std::string file = job.output->file;
  if (reply == Reply::File) co_return co_await context.files.output(exchange, file);
  const fs::path path = context.files.output_path(file);
  if (reply == Reply::Path) co_return json_answer(generated(job.id, "video_path", path.string()));
  // On the pool: the text of a video has many megabytes.
  auto read = [&]() -> std::optional<std::string> {
    std::optional<std::string> bytes = read_base64(path);
    if (!bytes) return std::nullopt;
    return generated(job.id, "video_bytes", std::move(*bytes)).dump();
  };
  std::optional<std::string> text = co_await context.files.slow_pool().run(read);
  if (!text)
    co_return openai_error(400, "video_too_large",
                           "The video is too large for JSON; fetch it from /v1/videos/" + job.id + "/content");
  Answer answer;
  answer.body = std::move(*text);
  co_return answer;
}

Awaitable<Answer> generate(ApiContext& context, Exchange& exchange, bool is_sync) {
  const Caller caller = context.access.caller(exchange, kForm);
  JobPtr job;
  Reply reply = Reply::Bytes;
  {
    ErrorList errors = ErrorList::array();
    BodyBudget::Share share(context.bodies);
    VideoBody sent = co_await read_video_body(context, exchange, caller, errors, share);
    reply = reply_of(sent.json, is_sync, context.settings, errors);
    check_latents(sent.json, context.settings, errors);
    const VideoRequest request = video_request(std::move(sent.json), VideoDoor::Generations, sent.is_form, errors);
    Submission submission = submission_of(request);
    submission.awaited = true;
    const Submitted submitted =
        co_await submit_body(context, exchange, request.endpoint, caller, submission, request.body, errors);
    job = submitted.job;
  }
  co_await wait_for_run(context, exchange, job, kForm);
  if (job->job.status != JobStatus::Done || !job->job.output) co_return run_answer(job->job, exchange.base_url());
  co_return co_await answer_with(context, exchange, job->job, reply);
}

}  // namespace

void add_video_generations(Router& router, ApiContext& context) {
  router.add("POST", "/v1/videos/generations",
             [&context](Exchange& at, const Captures&) { return in_openai_form(generate(context, at, false)); });
  router.add("POST", "/v1/videos/sync",
             [&context](Exchange& at, const Captures&) { return in_openai_form(generate(context, at, true)); });
}

}  // namespace wan::serve
