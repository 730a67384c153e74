{ lib }: lib.id { }
