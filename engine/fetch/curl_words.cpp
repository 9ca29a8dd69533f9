#include "engine/fetch/curl_words.h"

namespace wan {
namespace {

struct Words {
  long number;
  const char* text;
};

constexpr Words kStatus[] = {
    {204, "no content"},
    {206, "only a part"},
    {300, "several choices"},
    {301, "moved"},
    {302, "found elsewhere"},
    {304, "not modified"},
    {400, "bad request"},
    {401, "name and password wanted"},
    {403, "forbidden"},
    {404, "not found"},
    {405, "not allowed"},
    {407, "name and password wanted"},
    {408, "the request timed out"},
    {410, "gone"},
    {429, "too many requests"},
    {500, "error in the server"},
    {502, "bad gateway"},
    {503, "not available now"},
    {504, "gateway timed out"},
};

constexpr Words kCertificate[] = {
    {0, "it is another host's"},  // libcurl compares names itself
    {1, "it is another host's"},
    {9, "it is not valid yet"},
    {10, "it has expired"},
    {18, "nobody but the server itself vouches for it"},
    {19, "an unknown authority vouches for it"},
    {20, "an unknown authority vouches for it"},
    {21, "an unknown authority vouches for it"},
    {23, "it has been revoked"},
    {62, "it is another host's"},
    {64, "it is another host's"},
};

constexpr Words kCodes[] = {
    {CURLE_UNSUPPORTED_PROTOCOL, "the answer is not HTTP"},
    {CURLE_URL_MALFORMAT, "it is not a valid URL"},
    {CURLE_COULDNT_RESOLVE_PROXY, "the proxy of the environment is not known by its name"},
    {CURLE_WEIRD_SERVER_REPLY, "the answer is not HTTP"},
    {CURLE_HTTP2, "the connection broke off"},
    {CURLE_WRITE_ERROR, "the content is not packed as the server says"},
    {CURLE_OUT_OF_MEMORY, "the headers of the answer are too long"},
    {CURLE_SSL_CONNECT_ERROR, "no secure connection can be made; the server may not speak https"},
    {CURLE_GOT_NOTHING, "the server ended the connection without an answer"},
    {CURLE_SEND_ERROR, "the connection broke off"},
    {CURLE_RECV_ERROR, "the connection broke off"},
    {CURLE_BAD_CONTENT_ENCODING, "the content is not packed as the server says"},
    {CURLE_SSL_CACERT_BADFILE, "the file of trusted certificates cannot be read; SSL_CERT_FILE names it"},
    {CURLE_HTTP2_STREAM, "the connection broke off"},
    {100, "the headers of the answer are too long"},  // CURLE_TOO_LARGE, from 8.6 on
    {CURLE_PROXY, "the proxy of the environment refuses the connection"},
};

/// Null where the number is not in the table.
template <size_t size>
const char* find(const Words (&table)[size], long number) {
  for (const Words& words : table)
    if (words.number == number) return words.text;
  return nullptr;
}

}  // namespace

std::string status_text(long status) {
  const char* words = find(kStatus, status);
  return std::to_string(status) + (words ? std::string(" (") + words + ")" : "");
}

std::string duration_text(std::chrono::milliseconds time) {
  using namespace std::chrono;
  if (time >= hours(1) && time % hours(1) == milliseconds(0)) return std::to_string(time / hours(1)) + " h";
  if (time >= minutes(1) && time % minutes(1) == milliseconds(0)) return std::to_string(time / minutes(1)) + " min";
  if (time >= seconds(1)) return std::to_string(time / seconds(1)) + " s";
  return std::to_string(time.count()) + " ms";
}

std::string certificate_text(const std::string& host, long reason) {
  const char* why = find(kCertificate, reason);
  return "the certificate of '" + host + "' cannot be trusted: " + (why ? why : "it is not valid") +
         "; SSL_CERT_FILE=FILE names certificates to trust, or download it yourself and give the file";
}

std::string curl_text(CURLcode code) {
  const char* words = find(kCodes, code);
  return words ? words : "libcurl's error " + std::to_string(int(code));
}

}  // namespace wan
