#include "engine/tls/staple.h"

#include <algorithm>

#include "engine/tls/report.h"

namespace weir::tls {
namespace {

// nginx's times: try again after a failure, ask anew, and ask ahead of the end.
constexpr time_t kRetry = 300;
constexpr time_t kFresh = 3600;

}  // namespace

Staple::Staple(Responder responder, X509* certificate, X509* issuer, OcspTrust trust)
    : responder_(std::move(responder)), trust_(trust) {
  X509_up_ref(certificate);
  certificate_.reset(certificate);
  X509_up_ref(issuer);
  issuer_.reset(issuer);
}

Staple::~Staple() = default;

const std::string& Staple::response(Loop& loop) {
  if (fixed_) return response_;
  const time_t now = loop.wall_milliseconds() / 1000;
  if (!query_ && refresh_at_ <= now) {
    query_ = std::make_unique<OcspQuery>(loop, responder_, certificate_.get(), issuer_.get(),
                                         trust_, answered, this);
    refresh_at_ = now + kRetry;
    query_->start();
  }
  if (valid_until_ != 0 && valid_until_ < now) response_.clear();
  return response_;
}

void Staple::answered(void* self, OcspAnswer& answer) {
  static_cast<Staple*>(self)->take(answer);
}

void Staple::take(OcspAnswer& answer) {
  const auto done = std::move(query_);
  if (!answer.problem.empty()) {
    report(Severity::error, answer.problem);
    return;
  }
  if (answer.status != OcspAnswer::Status::good) {
    report(Severity::error, std::string("certificate status \"") + status_text(answer.status) +
                                "\" in the OCSP response while requesting certificate status, "
                                "responder: " +
                                responder_.host);
    return;
  }
  response_ = std::move(answer.response);
  valid_until_ = answer.valid_until;
  const time_t now = std::time(nullptr);
  const time_t latest = valid_until_ == 0 ? now + kFresh : valid_until_ - kRetry;
  refresh_at_ = std::max(std::min(latest, now + kFresh), now + kRetry);
}

}  // namespace weir::tls
