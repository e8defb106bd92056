// Clusters around centres: what K-Medoids and DPC-KNN look up in distances, all of which are finite.
#include "centres.h"

#include "keys.h"

namespace ATC_ISA {

namespace {

template <class Real> struct Image {
    const Real* cells;
    int64_t stride;
    int tokens;
    const Real* row(int64_t token) const { return cells + token * stride; }
};

// The nearest centre of each token, the first of equals; a centre is its own.
template <class Real> void nearest(const Image<Real>& image, const int64_t* centres, int count, int64_t* labels) {
    for (int token = 0; token < image.tokens; token++) {
        const Real* row = image.row(token);
        int best = 0;
        for (int k = 1; k < count; k++) best = row[centres[k]] < row[centres[best]] ? k : best;
        labels[token] = best;
    }
    for (int k = 0; k < count; k++) labels[centres[k]] = k;
}

// Of each cluster the first member with the least weighted distance to all members. Sums are float64, products exact
// for float32.
template <class Real> struct Medoids {
    const Image<Real>& image;
    const Real* weight;
    int64_t* members;  // by cluster, ascending
    int64_t* start;    // of each cluster among them, and the end of the last

    void update(const int64_t* labels, int count, int64_t* centres) {
        group(labels, count);
        for (int k = 0; k < count; k++) {
            double least = 0;
            for (int64_t at = start[k]; at < start[k + 1]; at++) {
                const double cost = cost_of(members[at], k);
                if (at > start[k] && !(cost < least)) continue;
                least = cost;
                centres[k] = members[at];
            }
        }
    }

  private:
    double cost_of(int64_t token, int cluster) const {
        const Real* row = image.row(token);
        double sum = 0;
        for (int64_t at = start[cluster]; at < start[cluster + 1]; at++)
            sum += double(row[members[at]]) * double(weight[members[at]]);
        return sum;
    }
    void group(const int64_t* labels, int count) {
        for (int k = 0; k <= count; k++) start[k] = 0;
        for (int token = 0; token < image.tokens; token++) start[labels[token]]++;
        for (int k = 0; k < count; k++) start[k + 1] += start[k];  // where each cluster ends
        for (int token = image.tokens - 1; token >= 0; token--) members[--start[labels[token]]] = token;
    }
};

// From a first centre on, the token that is farthest from all centres so far; the first of equals.
template <class Real> void spread_out(const Image<Real>& image, int count, int64_t* centres, Real* reach) {
    for (int token = 0; token < image.tokens; token++) reach[token] = Lanes<Real>::last;
    for (int k = 0; k < count; k++) {
        int farthest = k ? 0 : (int)centres[0];
        for (int token = 1; k && token < image.tokens; token++)
            farthest = reach[token] > reach[farthest] ? token : farthest;
        centres[k] = farthest;
        const Real* row = image.row(farthest);
        for (int token = 0; token < image.tokens; token++) reach[token] = smaller(row[token], reach[token]);
        reach[farthest] = -1;
    }
}

// Puts a number in its place among `count` ascending ones, the last of which falls off.
template <class Real> void insert(Real* sorted, int count, Real value) {
    if (!(value < sorted[count - 1])) return;
    int place = count - 1;
    for (; place > 0 && value < sorted[place - 1]; place--) sorted[place] = sorted[place - 1];
    sorted[place] = value;
}

// The smallest distances of each token, ascending.
template <class Real> void smallest(const Image<Real>& image, int count, Real* found) {
    constexpr int width = Lanes<Real>::width;
    for (int token = 0; token < image.tokens; token++, found += count) {
        const Real* row = image.row(token);
        for (int k = 0; k < count; k++) found[k] = Lanes<Real>::last;
        int other = 0;
        for (; other + width <= image.tokens; other += width) {
            unsigned less = bits(load<Vector<Real>>(row + other) < spread<Real>(found[count - 1]));
            for (; less; less &= less - 1) insert(found, count, row[other + __builtin_ctz(less)]);
        }
        for (; other < image.tokens; other++) insert(found, count, row[other]);
    }
}

// The least of the distances in a range to tokens at least as dense as `own`, or (`strictly`) denser; `otherwise` where
// none of them is less.
template <bool strictly, class Real>
Real least_among(const Real* row, const Real* density, int from, int to, Real own, Real otherwise) {
    constexpr int width = Lanes<Real>::width;
    const Vector<Real> bound = spread<Real>(own), none = spread<Real>(otherwise);
    Vector<Real> found = none;
    for (; from + width <= to; from += width) {
        const Vector<Real> other = load<Vector<Real>>(density + from), value = load<Vector<Real>>(row + from);
        found = smaller(strictly ? (other > bound ? value : none) : (other >= bound ? value : none), found);
    }
    Real least_so_far = least(found);
    for (; from < to; from++)
        if (strictly ? density[from] > own : density[from] >= own) least_so_far = smaller(row[from], least_so_far);
    return least_so_far;
}

template <class Real> Real largest(const Image<Real>& image) {
    constexpr int width = Lanes<Real>::width;
    Real found = image.cells[0];
    Vector<Real> most = spread<Real>(found);
    for (int token = 0; token < image.tokens; token++) {
        const Real* row = image.row(token);
        int other = 0;
        for (; other + width <= image.tokens; other += width) most = larger(load<Vector<Real>>(row + other), most);
        for (; other < image.tokens; other++) found = larger(row[other], found);
    }
    for (int lane = 0; lane < width; lane++) found = larger((Real)most[lane], found);
    return found;
}

// How far each token is from the nearest denser one, of equally dense ones from an earlier one; where there is none, the
// largest distance of the image.
template <class Real> void denser(const Image<Real>& image, const Real* density, Real* found) {
    const Real farthest = largest(image);
    for (int token = 0; token < image.tokens; token++) {
        const Real* row = image.row(token);
        const Real own = density[token];
        const Real earlier = least_among<false>(row, density, 0, token, own, farthest);
        found[token] = least_among<true>(row, density, token + 1, image.tokens, own, earlier);
    }
}

template <class Real> void find(const AtcCentres& job, const Image<Real>& image, int64_t number) {
    const int count = (int)job.count;
    const int64_t token = number * job.tokens, centre = number * count;  // the first of the image
    if (job.task == ATC_SMALLEST) return smallest(image, count, (Real*)job.values + token * count);
    if (job.task == ATC_DENSER) return denser(image, (const Real*)job.weight + token, (Real*)job.values + token);
    if (job.task == ATC_SPREAD) return spread_out(image, count, job.centres + centre, (Real*)job.scratch);
    Medoids<Real> medoids{image, (const Real*)job.weight + token, job.scratch, job.scratch + job.tokens};
    nearest(image, job.centres + centre, count, job.labels + token);
    for (int64_t round = 0; round < job.rounds; round++) {
        medoids.update(job.labels + token, count, job.centres + centre);
        nearest(image, job.centres + centre, count, job.labels + token);
    }
}

template <class Real> void run_images(const AtcCentres& job) {
    for (int64_t number = 0; number < job.images; number++) {
        const Real* cells = (const Real*)job.distance + number * job.image_stride;
        find(job, Image<Real>{cells, job.row_stride, (int)job.tokens}, number);
    }
}

}  // namespace

void find_centres(const AtcCentres& job) {
    if (job.is_double) run_images<double>(job);
    else run_images<float>(job);
}

}  // namespace ATC_ISA
