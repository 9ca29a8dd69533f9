#include "engine/serve/api/uploads.h"

#include <algorithm>
#include <charconv>
#include <memory>

#include "engine/serve/api/answers.h"
#include "engine/serve/net/answer.h"
#include "engine/serve/queue/ids.h"
#include "engine/serve/queue/times.h"
#include "models/files/json.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;
using Form = Access::Form;

constexpr uint64_t kMostRequest = 64 << 10;  // bytes of what asks for an upload
constexpr uint64_t kMostList = 2 << 20;      // of a list of parts
constexpr int64_t kDay = 24 * 3600 * 1000;   // ms

/// A text of the body; `otherwise` where it is absent. Throws HttpError where it is no text.
std::string text_in(const json& body, const char* name, const std::string& otherwise, Form form) {
  const auto found = body.find(name);
  if (found == body.end() || found->is_null()) return otherwise;
  if (found->is_string()) return found->get<std::string>();
  ErrorList errors = ErrorList::array();
  add_error(errors, name, "string_type", "Input should be a valid string", *found);
  throw HttpError(bad_fields(form, errors));
}

std::optional<int64_t> part_number(const std::string& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool good = error == std::errc() && end == text.data() + text.size() && number >= 1 && number <= kMostParts;
  return good ? std::optional(number) : std::nullopt;
}

std::vector<ListedPart> listed_parts(std::string_view text, Form form) {
  const auto refuse = [&](const std::string& why) -> HttpError {
    return HttpError(refusal(form, 400, "bad_request", "The list of parts " + why));
  };
  std::vector<ListedPart> parts;
  try {
    const json body = parse_json(text, {.bytes = kMostList, .depth = 8, .values = 8 * size_t(kMostParts)});
    for (const json& part : body.at("parts")) parts.push_back({part.at("partNumber"), part.at("etag")});
  } catch (const BrokenJson& broken) {
    throw refuse(broken.what());
  } catch (const json::exception&) {
    throw refuse("must be {\"parts\": [{\"partNumber\", \"etag\"}, ...]}");
  }
  return parts;
}

Answer unknown_upload() {
  return error_answer(404, "There is no such upload; begin it anew", "not_found");
}

std::string media_of(const std::string& type) {
  const std::string kind = type.substr(0, type.find('/'));
  return kind == "image" || kind == "audio" || kind == "video" ? kind : "file";
}

std::string header_of(const Exchange& exchange, const char* name) {
  return std::string(exchange.header(name).value_or(""));
}

Quota quota_of(const UploadName& upload) {
  return {.queued_jobs = 0, .upload_bytes = upload.quota, .video_seconds = 0};
}

/// Of the key that the caller sent: what is behind the scheme.
std::string key_of(const Exchange& exchange) {
  const std::string given = header_of(exchange, "Authorization");
  const size_t blank = given.find(' ');
  return blank == given.npos ? "local" : given.substr(blank + 1);
}

/// "complete" is no number of a part: what fits the pattern of parts, too, takes POST alone.
void take_post_alone(Router& router, const char* pattern) {
  const std::vector<Header> allow = {{"Allow", "OPTIONS, POST"}};
  router.add("OPTIONS", pattern, [allow](Exchange&, const Captures&) -> Awaitable<Answer> {
    co_return Answer{.status = 204, .headers = allow};
  });
  router.add("PUT", pattern, [allow](Exchange&, const Captures&) -> Awaitable<Answer> {
    co_return json_answer({{"detail", "Method Not Allowed"}}, 405, allow);
  });
}

}  // namespace

std::string plain_type(std::string_view type) {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&^_.+-/;= \"";
  const bool plain = !type.empty() && type.size() <= 100 && type.find('/') != type.npos &&
                     type.find_first_not_of(kLetters) == type.npos;
  return plain ? std::string(type) : "application/octet-stream";
}

std::string Uploads::url_of(const Exchange& exchange, const std::string& file) const {
  return exchange.base_url() + "/files/uploads/" + file;
}

Answer Uploads::too_large(Access::Form form) const {
  return refusal(form, 413, "bad_request",
                 "A file may have at most " + std::to_string(context_.settings.most_file_bytes) + " bytes");
}

/// The body to a new file. Throws HttpError: 413, and those of check_room().
Awaitable<uint64_t> Uploads::save(Exchange& exchange, const fs::path& path, const std::string& owner,
                                  const Quota& quota, uint64_t most) {
  const Form form = form_of(exchange);
  const std::optional<uint64_t> length = exchange.content_length();
  if (length.value_or(0) > most) throw HttpError(too_large(form));
  co_await check_room(context_, form, owner, quota, length.value_or(0));
  uint64_t bytes = 0;
  try {
    bytes = co_await exchange.save_body(path, most);
  } catch (const HttpError& error) {
    if (error.answer.status != 413) throw;
    throw HttpError(too_large(form));
  }
  if (length) co_return bytes;
  // Of a length that was not told, only now it is known whether there is room.
  std::exception_ptr refused;
  try {
    co_await check_room(context_, form, owner, quota, bytes);
  } catch (...) {
    refused = std::current_exception();
  }
  if (!refused) co_return bytes;
  co_await context_.files.pool().run([&] {
    std::error_code ignored;
    fs::remove(path, ignored);
  });
  std::rethrow_exception(refused);
}

Awaitable<Answer> Uploads::token(Exchange& exchange) {
  context_.access.caller(exchange);
  // The client sends this back in its uploads, so that they are its own.
  co_return json_answer({{"token", key_of(exchange)},
                         {"token_type", "Bearer"},
                         {"base_url", exchange.base_url()},
                         {"expires_at", iso_time_with_offset(now_ms() + kDay)}},
                        200, {{"Cache-Control", "no-store"}});
}

Awaitable<Answer> Uploads::upload(Exchange& exchange) {
  const Caller caller = context_.access.caller(exchange);
  const UploadName upload{.file = Files::new_name(header_of(exchange, "X-Fal-File-Name")),
                          .owner = caller.name,
                          .type = plain_type(header_of(exchange, "Content-Type"))};
  const fs::path part = new_part(context_.files);
  const uint64_t bytes = co_await save(exchange, part, caller.name, caller.quota, context_.settings.most_file_bytes);
  const std::string url = url_of(exchange, upload.file);
  co_await adopt(context_, upload, part, bytes);
  co_return json_answer({{"access_url", url}});
}

/// Makes the folder of an upload in parts and returns its name.
Awaitable<std::string> Uploads::begin(const UploadName& upload) {
  const std::string parts = random_hex(16);
  const UploadParts folder(context_.files.parts_path(parts));
  co_await context_.files.pool().run([&] { folder.begin(upload); });
  co_return parts;
}

Awaitable<Answer> Uploads::begin_parts(Exchange& exchange) {
  const Caller caller = context_.access.caller(exchange);
  co_await exchange.read_body(kMostRequest);
  const UploadName upload{.file = Files::new_name(header_of(exchange, "X-Fal-File-Name")),
                          .owner = caller.name,
                          .type = plain_type(header_of(exchange, "Content-Type"))};
  const std::string parts = co_await begin(upload);
  co_return json_answer({{"access_url", url_of(exchange, upload.file)}, {"uploadId", parts}});
}

/// What is uploaded in these parts; nothing for names that lead nowhere.
Awaitable<std::optional<UploadName>> Uploads::in_parts(const std::string& parts) {
  const bool plain = parts.size() == 32 && parts.find_first_not_of("0123456789abcdef") == parts.npos;
  if (!plain) co_return std::nullopt;
  const UploadParts folder(context_.files.parts_path(parts));
  co_return co_await context_.files.pool().run([&] { return folder.upload(); });
}

Awaitable<Answer> Uploads::save_part(Exchange& exchange, const UploadName& upload, const Quota& quota,
                                     const std::string& parts, const std::string& text) {
  const std::optional<int64_t> number = part_number(text);
  if (!number) co_return error_answer(400, "Parts are numbered from 1 to " + std::to_string(kMostParts), "bad_request");
  const UploadParts folder(context_.files.parts_path(parts));
  const uint64_t others = co_await context_.files.pool().run([&] { return folder.bytes_without(*number); });
  const uint64_t most = context_.settings.most_file_bytes;
  const fs::path part = new_part(context_.files);
  co_await save(exchange, part, upload.owner, quota, most - std::min(most, others));
  const std::string tag = random_hex(16);
  const bool taken = co_await context_.files.pool().run([&] {
    std::error_code failed;
    try {
      folder.take(part, *number, tag);
      return true;
    } catch (const fs::filesystem_error&) {  // it has been joined or removed meanwhile
      fs::remove(part, failed);
      return false;
    }
  });
  if (!taken) co_return unknown_upload();
  const std::string quoted = "\"" + tag + "\"";
  co_return json_answer({{"partNumber", *number}, {"etag", quoted}}, 200, {{"ETag", quoted}});
}

Awaitable<Answer> Uploads::join(Exchange& exchange, const UploadName& upload, const std::string& parts) {
  const std::string text = co_await exchange.read_body(kMostList);
  std::vector<ListedPart> listed = listed_parts(text, form_of(exchange));
  const UploadParts folder(context_.files.parts_path(parts));
  const fs::path whole = new_part(context_.files);
  const std::optional<uint64_t> bytes =
      co_await context_.files.pool().run([&] { return folder.join(std::move(listed), whole); });
  if (!bytes)
    co_return error_answer(400, "The list of parts must name each uploaded part once, with its ETag", "bad_request");
  // Parts that came at the same time did not see each other.
  if (*bytes > context_.settings.most_file_bytes) {
    co_await context_.files.pool().run([&] {
      std::error_code absent;
      return fs::remove(whole, absent);
    });
    throw HttpError(too_large(form_of(exchange)));
  }
  const std::string url = url_of(exchange, upload.file);
  co_await adopt(context_, upload, whole, *bytes);
  co_return json_answer({{"access_url", url}});
}

Awaitable<Answer> Uploads::take_part(Exchange& exchange, std::string file, std::string parts, std::string number) {
  const Caller caller = context_.access.caller(exchange);
  const std::optional<UploadName> upload = co_await in_parts(parts);
  if (!upload || upload->file != file || upload->owner != caller.name) co_return unknown_upload();
  co_return co_await save_part(exchange, *upload, caller.quota, parts, number);
}

Awaitable<Answer> Uploads::end_parts(Exchange& exchange, std::string file, std::string parts) {
  const Caller caller = context_.access.caller(exchange);
  const std::optional<UploadName> upload = co_await in_parts(parts);
  if (!upload && Files::is_name(file)) {
    const std::optional<fs::path> joined = co_await find_upload(context_, file, caller);
    if (joined) co_return json_answer({{"access_url", url_of(exchange, file)}});  // a client that asks again
  }
  if (!upload || upload->file != file || upload->owner != caller.name) co_return unknown_upload();
  co_return co_await join(exchange, *upload, parts);
}

Awaitable<Answer> Uploads::initiate(Exchange& exchange) {
  const Caller caller = context_.access.caller(exchange);
  const json body = co_await read_object(exchange, context_.files.pool(), Form::Fal, kMostRequest);
  const UploadName upload{.file = Files::new_name(text_in(body, "file_name", "upload.bin", Form::Fal)),
                          .owner = caller.name,
                          .type = plain_type(text_in(body, "content_type", "", Form::Fal)),
                          .quota = caller.quota.upload_bytes};
  co_await check_room(context_, Form::Fal, caller.name, caller.quota, 0);
  co_return json_answer({{"file_url", url_of(exchange, upload.file)},
                         {"upload_url", exchange.base_url() + "/storage/put/files/uploads/" + upload.file +
                                            signed_urls_.query(upload, "", now_ms())}});
}

Awaitable<Answer> Uploads::initiate_parts(Exchange& exchange) {
  const Caller caller = context_.access.caller(exchange);
  const json body = co_await read_object(exchange, context_.files.pool(), Form::Fal, kMostRequest);
  const UploadName upload{.file = Files::new_name(text_in(body, "file_name", "upload.bin", Form::Fal)),
                          .owner = caller.name,
                          .type = plain_type(text_in(body, "content_type", "", Form::Fal)),
                          .quota = caller.quota.upload_bytes};
  co_await check_room(context_, Form::Fal, caller.name, caller.quota, 0);
  const std::string parts = co_await begin(upload);
  co_return json_answer({{"file_url", url_of(exchange, upload.file)},
                         {"upload_url", exchange.base_url() + "/storage/parts/" + upload.file + "/" + parts +
                                            signed_urls_.query(upload, parts, now_ms())}});
}

Awaitable<Answer> Uploads::put_signed(Exchange& exchange, std::string file) {
  const UploadName upload = signed_urls_.check(exchange, file, "", now_ms());
  const fs::path part = new_part(context_.files);
  const uint64_t bytes =
      co_await save(exchange, part, upload.owner, quota_of(upload), context_.settings.most_file_bytes);
  co_await adopt(context_, upload, part, bytes);
  if (form_of(exchange) == Form::WaveSpeed) co_return json_answer({{"code", 200}, {"message", "success"}});
  co_return json_answer({{"file_url", url_of(exchange, file)}});
}

Awaitable<Answer> Uploads::take_signed_part(Exchange& exchange, std::string file, std::string parts,
                                            std::string number) {
  const UploadName upload = signed_urls_.check(exchange, file, parts, now_ms());
  const Quota quota = quota_of(upload);
  const std::optional<UploadName> known = co_await in_parts(parts);
  if (!known) co_return unknown_upload();
  co_return co_await save_part(exchange, upload, quota, parts, number);
}

Awaitable<Answer> Uploads::end_signed_parts(Exchange& exchange, std::string file, std::string parts) {
  const UploadName upload = signed_urls_.check(exchange, file, parts, now_ms());
  const Caller owner{.name = upload.owner, .admin = upload.owner.empty(), .quota = {}};
  const std::optional<UploadName> known = co_await in_parts(parts);
  if (!known) {
    const std::optional<fs::path> joined = co_await find_upload(context_, file, owner);
    co_return joined ? json_answer({{"access_url", url_of(exchange, file)}}) : unknown_upload();
  }
  co_return co_await join(exchange, upload, parts);
}

Awaitable<Answer> Uploads::ticket(Exchange& exchange) {
  const Caller caller = context_.access.caller(exchange, Form::WaveSpeed);
  const json body = co_await read_object(exchange, context_.files.pool(), Form::WaveSpeed, kMostRequest);
  const std::string name = text_in(body, "filename", "upload", Form::WaveSpeed);
  const auto size = body.find("size");
  if (size != body.end() && !size->is_number_unsigned() && !size->is_null())
    co_return refusal(Form::WaveSpeed, 400, "bad_request", "size: Input should be a valid integer from 0 on");
  const uint64_t bytes = size != body.end() && size->is_number_unsigned() ? size->get<uint64_t>() : 0;
  if (bytes > context_.settings.most_file_bytes) co_return too_large(Form::WaveSpeed);
  co_await check_room(context_, Form::WaveSpeed, caller.name, caller.quota, bytes);
  const UploadName upload{.file = Files::new_name(name),
                          .owner = caller.name,
                          .type = plain_type(text_in(body, "content_type", "", Form::WaveSpeed)),
                          .quota = caller.quota.upload_bytes};
  const int64_t now = now_ms();
  const std::string url =
      exchange.base_url() + "/api/v3/media/put/files/uploads/" + upload.file + signed_urls_.query(upload, "", now);
  const ordered_json put = {{"method", "PUT"},
                            {"url", url},
                            {"headers", {{"Content-Type", upload.type}}},
                            {"expires_at", iso_time(now + std::chrono::milliseconds(SignedUrls::kValid).count())}};
  const ordered_json data = {{"type", media_of(upload.type)},
                             {"download_url", url_of(exchange, upload.file)},
                             {"filename", name},
                             {"size", bytes},
                             {"upload", put}};
  co_return json_answer({{"code", 200}, {"message", "success"}, {"data", data}});
}

void add_upload_routes(Router& router, ApiContext& context) {
  for (const char* pattern :
       {"/files/uploads/{file}/multipart/{parts}/complete", "/storage/parts/{file}/{parts}/complete"})
    take_post_alone(router, pattern);
  const auto uploads = std::make_shared<Uploads>(context);
  router.add("POST", "/storage/auth/token", [uploads](Exchange& at, const Captures&) { return uploads->token(at); });
  router.add("POST", "/files/upload", [uploads](Exchange& at, const Captures&) { return uploads->upload(at); });
  router.add("POST", "/files/upload/multipart",
             [uploads](Exchange& at, const Captures&) { return uploads->begin_parts(at); });
  router.add("PUT", "/files/uploads/{file}/multipart/{parts}/{number}", [uploads](Exchange& at, const Captures& names) {
    return uploads->take_part(at, names.at("file"), names.at("parts"), names.at("number"));
  });
  router.add("POST", "/files/uploads/{file}/multipart/{parts}/complete",
             [uploads](Exchange& at, const Captures& names) {
               return uploads->end_parts(at, names.at("file"), names.at("parts"));
             });
  router.add("POST", "/storage/upload/initiate",
             [uploads](Exchange& at, const Captures&) { return uploads->initiate(at); });
  router.add("POST", "/storage/upload/initiate-multipart",
             [uploads](Exchange& at, const Captures&) { return uploads->initiate_parts(at); });
  router.add("PUT", "/storage/parts/{file}/{parts}/{number}", [uploads](Exchange& at, const Captures& names) {
    return uploads->take_signed_part(at, names.at("file"), names.at("parts"), names.at("number"));
  });
  router.add("POST", "/storage/parts/{file}/{parts}/complete", [uploads](Exchange& at, const Captures& names) {
    return uploads->end_signed_parts(at, names.at("file"), names.at("parts"));
  });
  for (const char* path : {"/storage/put/files/uploads/{file}", "/api/v3/media/put/files/uploads/{file}"})
    router.add("PUT", path,
               [uploads](Exchange& at, const Captures& names) { return uploads->put_signed(at, names.at("file")); });
  router.add("POST", "/api/v3/media/uploads", [uploads](Exchange& at, const Captures&) { return uploads->ticket(at); });
}

}  // namespace wan::serve
