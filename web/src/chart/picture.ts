// A chart saved as a PNG on the ground of its card.
export function savePicture(where: Element, name: string): void {
  const drawn = where.querySelector("canvas");
  if (!drawn) return;
  const copy = document.createElement("canvas");
  copy.width = drawn.width;
  copy.height = drawn.height;
  const ctx = copy.getContext("2d");
  if (!ctx) return;
  ctx.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--panel").trim();
  ctx.fillRect(0, 0, copy.width, copy.height);
  ctx.drawImage(drawn, 0, 0);
  copy.toBlob((blob) => {
    if (!blob) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    URL.revokeObjectURL(link.href);
  });
}
