"""A folder of images to a folder of images of few colors, or to one archive of codes, in one step."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from statistics import fmean

from dkmeans.artefacts.folder import HIDDEN
from dkmeans.artefacts.index import read_skipped
from dkmeans.compute.executor import Executor
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import QuantizeConfig, ReportConfig
from dkmeans.errors import UsageError
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.images.decode import CHANNELS, SkippedImage
from dkmeans.images.effort import check_effort
from dkmeans.images.palettes import PNG_COLORS
from dkmeans.images.sources import open_source
from dkmeans.stages.shared.asking import check_asked
from dkmeans.stages.shared.one_file import asks_for_file, written_file
from dkmeans.stages.shared.quantized import QuantizedImage, Written
from dkmeans.stages.shared.recoloring import write_folder
from dkmeans.stages.shared.summary import gain_lines, quality_lines, skipped_lines
from dkmeans.storage.store import open_store

__all__ = ["QuantizeReport", "quantize"]


@dataclass(frozen=True)
class QuantizeReport:
    """The report of quantize.

    Attributes
    ----------
    destination : str
        URL of the folder, the file or the archive.
    n_images, n_skipped : int
        Images written, and left out because they cannot be read.
    n_kept, n_copied, n_left_out : int
        Of the written ones those that an earlier run had made, and those that are files of the source; and
        images without a file. The last two because their PNG would be larger; see ``if_larger``.
    n_gone : int
        Files of earlier runs that are still there, though the source has lost their images.
    n_clusters : int
        Most colors of an image, or patches of all.
    source_bytes, stored_bytes : int
        Of the images as found, and of what was written: files, or all of an archive.
    n_pixels : int
    bits_per_pixel : float
        8 x stored_bytes / n_pixels.
    mean_psnr : float or None
        Mean over the images that lost anything, in dB; None if none did.
    n_exact : int
        Images that lost nothing.
    mean_ssim : float or None
        Mean over the images that are large enough for it.
    inertia : float
        Sum of the squared distances of all pixels, or patches, to their centers before these are rounded.
    n_iter : int
        Iterations; of palettes per image the most that one took.
    converged : bool
        Whether all ended before ``max_iter``.
    centers_sha256 : str or None
        Of the centers for all images, as of a codebook of fit; None with a palette per image.
    seconds : float
        Of the whole stage.
    page : str or None
        Path of the page of pictures, where one was asked for.
    skipped : tuple of SkippedImage
        Those left out, each with the reason.
    images : tuple of QuantizedImage
    """

    destination: str
    n_images: int
    n_skipped: int
    n_kept: int
    n_copied: int
    n_left_out: int
    n_gone: int
    n_clusters: int
    source_bytes: int
    stored_bytes: int
    n_pixels: int
    bits_per_pixel: float
    mean_psnr: float | None
    n_exact: int
    mean_ssim: float | None
    inertia: float
    n_iter: int
    converged: bool
    centers_sha256: str | None
    seconds: float
    page: str | None
    skipped: tuple[SkippedImage, ...]
    images: tuple[QuantizedImage, ...]

    def summary(self) -> list[str]:
        """Lines for people: bytes, quality, what was left out, and where it all lies."""
        return [
            *gain_lines(self.images, self.source_bytes, self.stored_bytes),
            *quality_lines(self.images, self.mean_psnr, self.n_exact),
            *skipped_lines(self.skipped),
            *([f"report: {self.page}"] if self.page else []),
            self.destination,
        ]


def quantize(
    config: QuantizeConfig,
    executor: ClusterConfig | Executor = ClusterConfig(),
    reporter: Reporter = SILENT,
) -> QuantizeReport:
    """Reduce images to few colors, or code them by few patches, by exact k-means.

    A palette per image is learned in one task, by starts of its own (`dkmeans.clustering.palette`), and an
    image of no more colors than asked for loses nothing. A shared palette, and the codebook of an archive,
    has the bits that ingest and fit give for the same images and options; no dataset is stored.

    Parameters
    ----------
    config : QuantizeConfig
        URLs of what is read and written, and the options.
    executor : ClusterConfig or Executor
        Where the tasks run: a cluster to start or to connect to, `InProcess` or `Distributed`.
    reporter : Reporter
        Told of progress; by default nobody is.

    Returns
    -------
    QuantizeReport
        For all images and for each: colors, bytes, quality (PSNR in dB, SSIM), and seconds.

    Raises
    ------
    InputError
        If the source is missing or empty.
    SkippedError
        If more than ``max_skipped`` images cannot be read; the work stops there.
    UsageError
        If options contradict each other, the output is there already, or overlaps the source.
    ClusterError
        If rows for all images do not fit into the workers' memory.
    StorageError
        If storage refuses or fails.
    """
    began = time.perf_counter()
    _check(config)
    source = open_source(config.source)
    if asks_for_file(config, source):
        with written_file(config, source, executor, reporter) as (written, folder):
            _write_page(config, folder, written.url)
        return _report(config, written, (), time.perf_counter() - began)
    if config.to == "archive":
        from dkmeans.stages.shared.archiving import write_archive  # here, as files need no codes

        written = write_archive(config, source, executor, reporter)
    else:
        written = write_folder(config, source, executor, reporter)
    _write_page(config, written.url)
    return _report(config, written, _skipped(config, written.url), time.perf_counter() - began)


def _skipped(config: QuantizeConfig, url: str) -> tuple[SkippedImage, ...]:
    """The images that were left out, as they are listed beside those that were written."""
    store = open_store(url)
    return tuple(read_skipped(store if config.to == "archive" else store.below(HIDDEN)))


def _write_page(config: QuantizeConfig, result: str, file: str | None = None) -> None:
    """Write the page that was asked for; of one file that was made as the only one of a folder."""
    if config.report is not None:
        from dkmeans.report import page, subjects  # here, as it draws, which others need not wait for

        subject = replace(subjects.open_subject(result), file=file)
        page.write_page(ReportConfig(page=config.report, results=[result]), [subject])


def _check(config: QuantizeConfig) -> None:
    """Refuse options that contradict each other.

    Raises
    ------
    UsageError
    """
    if config.report is not None:
        from dkmeans.report.page import check_page

        check_page(config.report)
    if config.overwrite and config.resume:
        raise UsageError("found both --overwrite and --resume; expected at most one of them.")
    if config.overwrite and config.update:
        raise UsageError("found both --overwrite and --update; expected at most one of them.")
    if config.prune and not config.update:
        raise UsageError("--prune is for --update, found it alone. Pass both, or leave out --prune.")
    if config.dither == "none" and config.dither_strength != 1:
        raise UsageError(
            f"found --dither-strength {config.dither_strength:g} without --dither; expected both. Pass "
            "--dither floyd-steinberg or ordered, or leave out --dither-strength."
        )
    check_asked(config)
    check_effort(config.effort)
    if config.to == "archive":
        for option in ("update", "if_larger"):
            if option in config.model_fields_set and getattr(config, option):
                named = option.replace("_", "-")
                raise UsageError(f"--{named} is for PNG files, found --to archive. Leave out one of them.")
        if config.dither != "none":
            raise UsageError("--dither is for PNG files, found --to archive. Leave out one of them.")
        if config.effort != QuantizeConfig.model_fields["effort"].default:
            raise UsageError("--effort is for PNG files, found --to archive. Leave out one of them.")
        if config.color != "auto":  # else the images decide
            from dkmeans.stages.shared.archiving import check_patch

            check_patch(config.patch, CHANNELS[config.color])
        return
    if config.patch is not None:
        raise UsageError("--patch is for archives, found PNG files. Pass --to archive, or leave out --patch.")
    if config.n_clusters > PNG_COLORS:
        raise UsageError(
            f"found {config.n_clusters} colors, an indexed PNG holds at most {PNG_COLORS}. "
            f"Pass --k {PNG_COLORS} or less, or --to archive."
        )
    if config.palette != "shared" and config.init != QuantizeConfig.model_fields["init"].default:
        raise UsageError(
            f"--init {config.init} is for one palette for all images: one per image has starts of its own. "
            "Pass --palette shared, or leave out --init."
        )


def _report(
    config: QuantizeConfig, written: Written, skipped: tuple[SkippedImage, ...], seconds: float
) -> QuantizeReport:
    images = written.images
    lossy = [image.psnr for image in images if image.psnr is not None]
    similar = [image.ssim for image in images if image.ssim is not None]
    n_pixels = sum(image.height * image.width for image in images)
    return QuantizeReport(
        destination=written.url,
        n_images=len(images),
        n_skipped=written.n_skipped,
        n_kept=written.n_kept,
        n_copied=written.n_copied,
        n_left_out=written.n_left_out,
        n_gone=written.n_gone,
        n_clusters=written.n_clusters,
        source_bytes=sum(image.source_bytes for image in images),
        stored_bytes=written.stored_bytes,
        n_pixels=n_pixels,
        bits_per_pixel=8 * written.stored_bytes / n_pixels,
        mean_psnr=fmean(lossy) if lossy else None,
        n_exact=len(images) - len(lossy),
        mean_ssim=fmean(similar) if similar else None,
        inertia=written.inertia,
        n_iter=written.n_iter,
        converged=written.converged,
        centers_sha256=written.centers_sha256,
        seconds=seconds,
        page=config.report,
        skipped=skipped,
        images=images,
    )
