// A certificate that vouches for itself, by OpenSSL.
#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/serve/net/new_file.h"
#include "engine/serve/net/server.h"

namespace wan::serve {
namespace {

constexpr long kSeconds = 3653L * 24 * 3600;  // ten years

template <auto kFree>
struct Free {
  template <typename T>
  void operator()(T* pointer) const {
    kFree(pointer);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Free<EVP_PKEY_CTX_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>>;
using Number = std::unique_ptr<BIGNUM, Free<BN_free>>;
using Memory = std::unique_ptr<BIO, Free<BIO_free>>;

void check(bool good, const char* what) {
  if (good) return;
  std::array<char, 256> text{};
  ERR_error_string_n(ERR_get_error(), text.data(), text.size());
  throw std::runtime_error(std::string("a certificate cannot be made: ") + what + ": " + text.data());
}

Key make_key() {
  const KeyContext context(EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nullptr));
  EVP_PKEY* key = nullptr;
  check(context && EVP_PKEY_keygen_init(context.get()) == 1 &&
            EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context.get(), NID_X9_62_prime256v1) == 1 &&
            EVP_PKEY_keygen(context.get(), &key) == 1,
        "key");
  return Key(key);
}

bool is_address(const std::string& host) {
  std::array<unsigned char, 16> bytes{};
  return inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 || inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1;
}

/// "DNS:localhost,IP:127.0.0.1,IP:::1" and the host. A name goes into OpenSSL's own notation, so its signs are checked.
std::string names(const std::string& host) {
  std::string text = "DNS:localhost,IP:127.0.0.1,IP:::1";
  if (host.empty() || host == "localhost" || host == "127.0.0.1" || host == "::1") return text;
  if (is_address(host)) return text + ",IP:" + host;
  for (char c : host) {
    const bool good =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
    if (!good)
      throw std::runtime_error("a certificate cannot be made: [host] must be a host name, got \"" + host + "\"");
  }
  return text + ",DNS:" + host;
}

void add(X509* certificate, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str()));
  check(extension && X509_add_ext(certificate, extension.get(), -1) == 1, OBJ_nid2sn(id));
}

void set_serial(X509* certificate) {
  const Number number(BN_new());
  check(number && BN_rand(number.get(), 159, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
            BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr,
        "serial number");
}

Certificate make_certificate(EVP_PKEY* key, const std::string& host) {
  Certificate certificate(X509_new());
  X509* const raw = certificate.get();
  check(raw != nullptr && X509_set_version(raw, X509_VERSION_3) == 1, "version");
  set_serial(raw);
  // A day back, for clients whose clocks are late.
  check(X509_gmtime_adj(X509_getm_notBefore(raw), -24L * 3600) != nullptr &&
            X509_gmtime_adj(X509_getm_notAfter(raw), kSeconds) != nullptr,
        "validity");
  X509_NAME* const name = X509_get_subject_name(raw);
  const auto* text = reinterpret_cast<const unsigned char*>("wan-serve");
  check(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, text, -1, -1, 0) == 1 &&
            X509_set_issuer_name(raw, name) == 1 && X509_set_pubkey(raw, key) == 1,
        "name");
  add(raw, NID_basic_constraints, "critical,CA:FALSE");
  add(raw, NID_key_usage, "critical,digitalSignature");
  add(raw, NID_ext_key_usage, "serverAuth");
  add(raw, NID_subject_key_identifier, "hash");
  add(raw, NID_subject_alt_name, names(host));
  check(X509_sign(raw, key, EVP_sha256()) > 0, "signature");
  return certificate;
}

std::string pem(EVP_PKEY* key, X509* certificate) {
  const Memory memory(BIO_new(BIO_s_mem()));
  check(memory && PEM_write_bio_PrivateKey(memory.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1 &&
            PEM_write_bio_X509(memory.get(), certificate) == 1,
        "PEM");
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

}  // namespace

void make_certificate(const std::filesystem::path& file, const std::string& host) {
  std::error_code error;
  if (std::filesystem::exists(file, error)) return;
  const Key key = make_key();
  const Certificate certificate = make_certificate(key.get(), host);
  // Whole or not at all, and never in place of what another process made meanwhile.
  std::filesystem::path part = file;
  part += "." + std::to_string(getpid()) + ".part";
  unlink(part.c_str());
  NewFile written(part);
  try {
    written.create();
    written.write(pem(key.get(), certificate.get()));
    written.keep();
  } catch (const std::system_error& failure) {
    throw std::runtime_error(std::string("a certificate cannot be made: ") + failure.what());
  }
  // A file system without hard links gets the name in another way.
  if (link(part.c_str(), file.c_str()) != 0 && errno != EEXIST) std::filesystem::rename(part, file);
  unlink(part.c_str());
}

}  // namespace wan::serve
