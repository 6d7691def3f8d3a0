/** Extensions of formats that are compressed already: storing them as they are saves time and loses nothing. */
const COMPRESSED = new Set(
  (
    'jpg jpeg jfif png gif webp avif heic heif jxl mp4 m4v mov mkv webm avi wmv flv mpg mpeg mp3 m4a aac ogg oga ogv ' +
    'opus flac wma zip gz tgz bz2 tbz xz txz zst lz4 lzma br 7z rar cab jar apk ipa whl pdf woff woff2 docx xlsx pptx ' +
    'odt ods odp epub age gpg'
  ).split(' '),
);

/** True if the name says that deflating the file's bytes would gain nothing. */
export function isCompressed(path: string): boolean {
  const dot = path.lastIndexOf('.');
  return dot > path.lastIndexOf('/') && COMPRESSED.has(path.slice(dot + 1).toLowerCase());
}
