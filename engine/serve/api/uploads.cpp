#include "engine/serve/api/uploads.h"

#include <algorithm>
#include <charconv>
#include <memory>

#include "engine/serve/api/answers.h"
#include "engine/serve/net/answer.h"
#include "engine/serve/queue/ids.h"
#include "models/files/json.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Form = Access::Form;

constexpr uint64_t kMostList = 2 << 20;  // bytes of a list of parts

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

void remove_quietly(const fs::path& path) {
  std::error_code ignored;
  fs::remove(path, ignored);
}

}  // namespace

Answer unknown_upload() {
  return error_answer(404, "There is no such upload; begin it anew", "not_found");
}

std::string text_in(const json& body, const char* name, const std::string& otherwise, Form form) {
  const auto found = body.find(name);
  if (found == body.end() || found->is_null()) return otherwise;
  if (found->is_string()) return found->get<std::string>();
  ErrorList errors = ErrorList::array();
  add_error(errors, name, "string_type", "Input should be a valid string", *found);
  throw HttpError(bad_fields(form, errors));
}

std::string header_text(const Exchange& exchange, const char* name) {
  return std::string(exchange.header(name).value_or(""));
}

std::string plain_type(std::string_view type) {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&^_.+-/;= \"";
  const bool plain = !type.empty() && type.size() <= 100 && type.find('/') != type.npos &&
                     type.find_first_not_of(kLetters) == type.npos;
  return plain ? std::string(type) : "application/octet-stream";
}

std::string Uploads::url_of(const Exchange& exchange, const std::string& file) const {
  return exchange.base_url() + "/files/uploads/" + file;
}

Answer Uploads::too_large(Form form) const {
  return refusal(form, 413, "bad_request",
                 "A file may have at most " + std::to_string(context.settings.most_file_bytes) + " bytes");
}

Awaitable<Uploads::Saved> Uploads::save(Exchange& exchange, const std::string& owner, const Quota& quota,
                                        uint64_t most) {
  const Form form = form_of(exchange);
  const std::optional<uint64_t> length = exchange.content_length();
  if (length.value_or(0) > most) throw HttpError(too_large(form));
  Saved saved;
  saved.part = new_part(context.files);
  saved.room = co_await take_room(context, form, owner, quota, length.value_or(0));
  // Of a length that is not told, no more is taken than there is room for now.
  uint64_t limit = most;
  if (!length) limit = co_await room_left(context, owner, quota, most);
  bool is_over = false;
  try {
    saved.bytes = co_await exchange.save_body(saved.part, limit);
  } catch (const HttpError& error) {
    if (error.answer.status != 413) throw;
    is_over = true;
  }
  // That it is over what there is room for is told in those words, with one byte more than fits.
  if (is_over && limit < most) saved.room = co_await take_room(context, form, owner, quota, limit + 1);
  if (is_over) throw HttpError(too_large(form));
  if (length) co_return saved;
  std::exception_ptr refused;
  try {
    saved.room = co_await take_room(context, form, owner, quota, saved.bytes);
  } catch (...) {
    refused = std::current_exception();
  }
  if (!refused) co_return saved;
  co_await context.files.pool().run([&] { remove_quietly(saved.part); });
  std::rethrow_exception(refused);
}

Awaitable<void> Uploads::take(Exchange& exchange, const UploadName& upload, const Quota& quota) {
  const Saved saved = co_await save(exchange, upload.owner, quota, context.settings.most_file_bytes);
  co_await adopt(context, form_of(exchange), upload, saved.part, saved.bytes);
}

Awaitable<std::string> Uploads::begin(Exchange& exchange, const UploadName& upload, const Quota& quota) {
  const RoomHold room = co_await take_room(context, form_of(exchange), upload.owner, quota, 0);
  const std::string parts = random_hex(16);
  const UploadParts folder(context.files.parts_path(parts));
  auto work = [&] { folder.begin(upload); };
  co_await context.files.pool().run(work);
  co_return parts;
}

Awaitable<std::optional<UploadName>> Uploads::in_parts(const Exchange& exchange, const std::string& parts) {
  const bool plain = parts.size() == 32 && parts.find_first_not_of("0123456789abcdef") == parts.npos;
  if (!plain) co_return std::nullopt;
  const UploadParts folder(context.files.parts_path(parts));
  bool is_closed = false;
  std::optional<UploadName> upload = co_await context.files.pool().run([&] {
    std::optional<UploadName> found = folder.upload();
    is_closed = !found && folder.is_closed();
    return found;
  });
  if (is_closed)
    throw HttpError(refusal(form_of(exchange), 503, "internal_error",
                            "The parts of this upload are being joined; try again later", {{"Retry-After", "2"}}));
  co_return upload;
}

Awaitable<Answer> Uploads::take_part(Exchange& exchange, const UploadName& upload, const Quota& quota,
                                     const std::string& parts, const std::string& text) {
  const std::optional<int64_t> number = part_number(text);
  if (!number) co_return error_answer(400, "Parts are numbered from 1 to " + std::to_string(kMostParts), "bad_request");
  const UploadParts folder(context.files.parts_path(parts));
  const uint64_t others = co_await context.files.pool().run([&] { return folder.bytes_without(*number); });
  const uint64_t most = context.settings.most_file_bytes;
  const Saved saved = co_await save(exchange, upload.owner, quota, most - std::min(most, others));
  const std::string tag = random_hex(16);
  auto work = [&] {
    try {
      folder.take(saved.part, *number, tag);
    } catch (const fs::filesystem_error& error) {
      remove_quietly(saved.part);
      if (error.code() != std::errc::no_such_file_or_directory) throw;
      return false;  // it has been joined or removed meanwhile
    }
    return true;
  };
  const bool taken = co_await context.files.pool().run(work);
  if (!taken) co_return unknown_upload();
  const uint64_t all = co_await context.files.pool().run([&] { return folder.bytes_without(0); });
  context.files.room().set_parts(parts, upload.owner, all);
  const std::string quoted = "\"" + tag + "\"";
  co_return json_answer({{"partNumber", *number}, {"etag", quoted}}, 200, {{"ETag", quoted}});
}

Awaitable<Answer> Uploads::join(Exchange& exchange, const UploadName& upload, const std::string& parts) {
  const Form form = form_of(exchange);
  std::vector<ListedPart> listed;
  {
    BodyBudget::Share share(context.bodies);
    Exchange::Admit admit = [&share, form](uint64_t bytes) { share.take(bytes, form); };
    const std::string text = co_await exchange.read_body(kMostList, std::move(admit));
    listed = listed_parts(text, form);
  }
  const UploadParts folder(context.files.parts_path(parts));
  const std::optional<uint64_t> bytes = co_await context.files.pool().run([&] { return folder.listed_bytes(listed); });
  if (!bytes)
    co_return error_answer(400, "The list of parts must name each uploaded part once, with its ETag", "bad_request");
  // Parts that came at the same time did not see each other.
  if (*bytes > context.settings.most_file_bytes) {
    co_await context.files.pool().run([&] { folder.remove(); });
    context.files.room().forget_parts(parts);
    throw HttpError(too_large(form));
  }
  // Its parts count for the quota already; the disk holds both for a while.
  const Quota no_quota;
  const RoomHold room = co_await take_room(context, form, upload.owner, no_quota, *bytes);
  FilesInUse::Claim claim(context.files.in_use());
  claim.add(parts);
  claim.add(folder.closed().filename().string());
  const fs::path whole = new_part(context.files);
  auto work = [&] { return folder.join(std::move(listed), whole); };
  const std::optional<uint64_t> joined = co_await context.files.slow_pool().run(work);
  if (!joined) co_return unknown_upload();
  std::exception_ptr failed;
  try {
    co_await adopt(context, form, upload, whole, *joined);
  } catch (...) {
    failed = std::current_exception();
  }
  auto tidy = [&] { failed ? folder.reopen() : folder.remove(); };
  co_await context.files.pool().run(std::move(tidy));
  if (failed) std::rethrow_exception(failed);
  context.files.room().forget_parts(parts);
  const std::string url = url_of(exchange, upload.file);
  co_return json_answer({{"access_url", url}});
}

void add_upload_routes(Router& router, ApiContext& context) {
  // Handlers hold it, so that it lives as long as the router.
  const auto uploads = std::make_shared<Uploads>(context);
  add_keyed_uploads(router, uploads);
  add_signed_uploads(router, uploads);
  add_upload_tickets(router, uploads);
}

}  // namespace wan::serve
