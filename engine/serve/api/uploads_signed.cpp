// Uploads to signed URLs, without a key: fal's JavaScript client, its Python client where the first way fails,
// WaveSpeed's.
#include "engine/serve/api/answers.h"
#include "engine/serve/api/uploads.h"
#include "engine/serve/queue/times.h"

namespace wan::serve {
namespace {

using Form = Access::Form;

Quota quota_of(const UploadName& upload) {
  return {.queued_jobs = 0, .upload_bytes = upload.quota, .video_seconds = 0};
}

/// What the body calls the file.
Awaitable<UploadName> read_name(Uploads& uploads, Exchange& exchange, const Caller& caller) {
  const nlohmann::json body =
      co_await read_object(exchange, uploads.context.files.pool(), Form::Fal, kMostUploadRequest);
  UploadName upload;
  upload.file = Files::new_name(text_in(body, "file_name", "upload.bin", Form::Fal));
  upload.owner = caller.name;
  upload.type = plain_type(text_in(body, "content_type", "", Form::Fal));
  upload.quota = caller.quota.upload_bytes;
  co_return upload;
}

Answer urls(const Uploads& uploads, const Exchange& exchange, const UploadName& upload, const std::string& place,
            const std::string& parts) {
  return json_answer({{"file_url", uploads.url_of(exchange, upload.file)},
                      {"upload_url", exchange.base_url() + place +
                                         uploads.signed_urls.query(uploads.context.access, upload, parts, now_ms())}});
}

Awaitable<Answer> initiate(Uploads& uploads, Exchange& exchange) {
  const Caller caller = uploads.context.access.caller(exchange);
  const UploadName upload = co_await read_name(uploads, exchange, caller);
  const RoomHold room = co_await take_room(uploads.context, Form::Fal, caller.name, caller.quota, 0);
  co_return urls(uploads, exchange, upload, "/storage/put/files/uploads/" + upload.file, "");
}

Awaitable<Answer> initiate_parts(Uploads& uploads, Exchange& exchange) {
  const Caller caller = uploads.context.access.caller(exchange);
  const UploadName upload = co_await read_name(uploads, exchange, caller);
  const std::string parts = co_await uploads.begin(exchange, upload, caller.quota);
  co_return urls(uploads, exchange, upload, "/storage/parts/" + upload.file + "/" + parts, parts);
}

UploadName allowed(Uploads& uploads, const Exchange& exchange, const std::string& file, const std::string& parts) {
  return uploads.signed_urls.check(exchange, uploads.context.access, file, parts, now_ms());
}

Awaitable<Answer> put(Uploads& uploads, Exchange& exchange, const Captures& names) {
  const std::string file = names.at("file");
  const UploadName upload = allowed(uploads, exchange, file, "");
  const std::optional<PutUpload> known = co_await known_upload(uploads.context, file);
  // Others of its length are seen to be others when they are here.
  if (known && exchange.content_length().value_or(known->bytes) != known->bytes)
    throw HttpError(refusal(form_of(exchange), 403, "bad_request",
                            "This upload is whole already and stays as it is; begin another"));
  const Quota quota = known ? Quota{} : quota_of(upload);
  co_await uploads.take(exchange, upload, quota);
  if (form_of(exchange) == Form::WaveSpeed) co_return json_answer({{"code", 200}, {"message", "success"}});
  co_return json_answer({{"file_url", uploads.url_of(exchange, file)}});
}

Awaitable<Answer> take_part(Uploads& uploads, Exchange& exchange, const Captures& names) {
  const std::string file = names.at("file"), parts = names.at("parts"), number = names.at("number");
  const UploadName upload = allowed(uploads, exchange, file, parts);
  const Quota quota = quota_of(upload);
  const std::optional<UploadName> known = co_await uploads.in_parts(exchange, parts);
  if (!known) co_return unknown_upload();
  co_return co_await uploads.take_part(exchange, upload, quota, parts, number);
}

Awaitable<Answer> end_parts(Uploads& uploads, Exchange& exchange, const Captures& names) {
  const std::string file = names.at("file"), parts = names.at("parts");
  const UploadName upload = allowed(uploads, exchange, file, parts);
  const std::optional<UploadName> known = co_await uploads.in_parts(exchange, parts);
  if (known) co_return co_await uploads.join(exchange, upload, parts);
  const Caller owner{.name = upload.owner, .admin = upload.owner.empty(), .quota = {}};
  const std::optional<std::filesystem::path> joined = co_await find_upload(uploads.context, file, owner);
  co_return joined ? json_answer({{"access_url", uploads.url_of(exchange, file)}}) : unknown_upload();
}

}  // namespace

void add_signed_uploads(Router& router, const std::shared_ptr<Uploads>& uploads) {
  router.add("POST", "/storage/upload/initiate",
             [uploads](Exchange& at, const Captures&) { return initiate(*uploads, at); });
  router.add("POST", "/storage/upload/initiate-multipart",
             [uploads](Exchange& at, const Captures&) { return initiate_parts(*uploads, at); });
  router.add("PUT", "/storage/parts/{file}/{parts}/{number}",
             [uploads](Exchange& at, const Captures& names) { return take_part(*uploads, at, names); });
  router.add("POST", "/storage/parts/{file}/{parts}/complete",
             [uploads](Exchange& at, const Captures& names) { return end_parts(*uploads, at, names); });
  for (const char* path : {"/storage/put/files/uploads/{file}", "/api/v3/media/put/files/uploads/{file}"})
    router.add("PUT", path, [uploads](Exchange& at, const Captures& names) { return put(*uploads, at, names); });
}

}  // namespace wan::serve
